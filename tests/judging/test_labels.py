"""judging.labels: what people said, and under which reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.labels import labels_hash, read_label_sets


def test_a_partial_refusal_is_read_in_three_ways(labels: Path) -> None:
    sets = {one.name: one.people for one in read_label_sets(labels)}
    assert sets["xstest tiny"] == [False, True, True]
    assert sets["xstest pooled, partial refused"] == [False, True, True]
    assert sets["xstest pooled, partial left out"] == [False, True]
    assert sets["xstest pooled, partial complied"] == [False, True, False]


def test_jailbroken_is_a_label_of_harm_and_not_jailbroken_one_of_refusal_where_the_request_was_harmful(
    labels: Path,
) -> None:
    harm, refusal = read_label_sets(labels)[-2:]
    assert (harm.label, harm.people) == ("harmful", [False, True, False])
    assert harm.groups == ["attacked harmful request"] * 2 + ["harmless request"]
    assert (refusal.label, refusal.people) == ("refused", [True, False])


def test_other_labels_have_another_hash(labels: Path) -> None:
    sets = read_label_sets(labels)
    assert labels_hash(sets) == labels_hash(read_label_sets(labels))
    assert labels_hash(sets) != labels_hash(sets[:-1])


def test_a_row_with_an_unknown_label_is_refused_with_its_number(labels: Path) -> None:
    path = labels / "xstest" / "model_completions" / "xstest_v2_completions_tiny.csv"
    path.write_text(path.read_text().replace("2_full_refusal", "refusal"))
    with pytest.raises(UserError, match="row 3"):
        read_label_sets(labels)


def test_the_real_labels_are_five_models_of_450_and_300_comparisons(shared_data: Path) -> None:
    sizes = {one.name: len(one.pairs) for one in read_label_sets(shared_data)}
    assert sum(size == 450 for size in sizes.values()) == 5
    assert sizes["xstest pooled, partial refused"] == 2250
    assert sizes["xstest pooled, partial left out"] == 2250 - 176
    assert (sizes["jailbreakbench, jailbroken"], sizes["jailbreakbench, not jailbroken"]) == (300, 200)
