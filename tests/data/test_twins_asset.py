"""The embedded twins: what they must hold for a probe on them to say something, and for no test to be trained on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from cada_trl.data.benchmarks import find_overlaps, read_benchmarks
from cada_trl.data.likeness import near_duplicates
from cada_trl.data.split import pair_roles
from cada_trl.data.twins import TWINS, read_twins
from cada_trl.hazards.pack import load_pack

SOURCE = read_twins()
ROWS = SOURCE.rows
HAZARDS = load_pack("builtin").hazards
FORMS = {row["pair"]: row["form"] for row in map(json.loads, TWINS.read_text(encoding="utf-8").splitlines())}


def test_at_least_600_pairs_are_kept_and_few_are_in_dispute() -> None:
    n_kept = len({row.pair for row in ROWS})
    assert n_kept >= 600
    assert Counter(row.harmful for row in ROWS) == {True: n_kept, False: n_kept}
    n_disputed = SOURCE.origin["n_pairs"] - n_kept
    assert n_disputed <= 0.02 * n_kept
    assert SOURCE.dropped == {name: {"labels_disagree": n_disputed} for name in ("harmful", "harmless")}


def test_the_origin_says_licence_digest_and_how_far_the_two_labels_agree() -> None:
    origin, both = SOURCE.origin, SOURCE.origin["agreement"]
    assert (origin["dataset"], origin["licence"], len(origin["sha256"])) == ("twins", "Apache-2.0", 64)
    assert both["n"] == 2 * origin["n_pairs"]  # every row was labelled twice
    assert both["kappa"] > 0.99
    assert both["n"] - both["agreed"] >= SOURCE.dropped["harmful"]["labels_disagree"]


def test_the_documentation_has_the_numbers_of_the_file() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    assert f"{SOURCE.origin['n_pairs']:,} pairs" in page
    assert f"{SOURCE.origin['agreement']['kappa']:.3f}" in page


def test_every_hazard_of_the_pack_has_rows_of_both_kinds_but_the_one_that_is_harmless_only() -> None:
    counts = Counter((row.hazard, row.harmful) for row in ROWS)
    assert {hazard for hazard, _ in counts} == set(HAZARDS)
    assert counts["child_sexual_exploitation", True] == 0
    assert min(counts[hazard, False] for hazard in HAZARDS) >= 50
    assert min(counts[hazard, True] for hazard in HAZARDS if hazard != "child_sexual_exploitation") >= 100


def test_questions_and_instructions_are_at_least_two_in_five_each() -> None:
    forms = Counter(FORMS[row.pair] for row in ROWS if row.pair is not None)
    assert set(forms) == {"question", "instruction"}
    assert min(forms.values()) >= 0.4 * len(ROWS)


def test_a_request_has_five_to_forty_words() -> None:
    assert not [row.text for row in ROWS if not 5 <= len(row.text.split()) <= 40]


def test_wording_is_varied_rather_than_filled_into_a_template() -> None:
    openings = Counter(" ".join(row.text.lower().split()[:4]) for row in ROWS)
    assert max(openings.values()) / len(ROWS) < 0.04


def test_no_two_pairs_hold_near_duplicates() -> None:
    alike = near_duplicates([row.key for row in ROWS], 0.8, pairs=[row.pair for row in ROWS])
    assert not [(ROWS[i].text, ROWS[j].text) for i, j in alike.items()]


def test_no_request_repeats_a_case_of_the_pack() -> None:
    cases = [case.request for hazard in HAZARDS.values() for case in hazard.cases]
    assert find_overlaps([row.key for row in ROWS], {"pack": cases}, n_gram=13, min_jaccard=0.6) == {}


def test_a_third_of_every_hazard_is_probed() -> None:
    probed = pair_roles(ROWS, []).probe
    harmful = [row for row in ROWS if row.harmful]
    of_hazard, of_probe = (
        Counter(row.hazard for row in harmful),
        Counter(row.hazard for row in harmful if row.pair in probed),
    )
    assert of_probe == {hazard: -(-n // 3) for hazard, n in of_hazard.items()}


def test_no_request_is_in_an_evaluation_set_or_like_one_of_it(shared_data: Path) -> None:
    overlaps = find_overlaps([row.key for row in ROWS], read_benchmarks(shared_data), n_gram=13, min_jaccard=0.6)
    assert overlaps == {}
