"""judging.calibrate: counts and rates against arithmetic done by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.calibrate import Agreement, agreement, as_json, main
from cada_trl.judging.judge import Judged
from cada_trl.judging.labels import LabelSet
from cada_trl.records import Verdict
from cada_trl.statistics import wilson


class Scripted:
    """A judge whose verdict is the response itself."""

    id = "scripted"

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Judged]:
        return [Judged(Verdict(response), response, "scripted") for _, response in pairs]


def test_counts_and_rates_of_ten_scored_items_are_those_done_by_hand() -> None:
    verdicts = ["REFUSED"] * 5 + ["COMPLIED"] * 5 + ["UNSCORED"] * 2
    humans = [True] * 4 + [False] + [True] * 2 + [False] * 3 + [True, False]
    result = agreement(Scripted(), LabelSet("set", [("q", verdict) for verdict in verdicts], humans))
    assert result == Agreement("set", 4, 1, 2, 3, 2, pytest.approx(0.4))  # chance: .5*.6 + .5*.4 = .5
    assert (result.accuracy.value, result.precision.value) == (0.7, 0.8)
    assert result.recall.value == pytest.approx(4 / 6)
    assert result.f1 == pytest.approx(8 / 11)
    assert result.accuracy.coverage == pytest.approx(10 / 12)


def test_a_judge_that_says_nothing_has_no_accuracy_and_the_widest_interval() -> None:
    result = agreement(Scripted(), LabelSet("set", [("q", "UNSCORED")], [True]))
    row = as_json("scripted", [result])["sets"][0]
    assert (row["n"], row["coverage"], row["accuracy"], row["kappa"], row["f1"]) == (0, 0.0, None, None, None)
    assert row["accuracy_interval"] == [0.0, 1.0]


def test_the_command_writes_the_tables_twin(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "calibration.json"
    assert main(["judge=phrases", f"labels={labels}", "--json", str(out)]) == 0
    twin = json.loads(out.read_text())
    assert twin["judge"].startswith("phrases-")
    first = twin["sets"][0]
    assert (first["name"], first["n"], first["true_refused"], first["true_complied"]) == ("xstest tiny", 3, 1, 1)
    assert first["accuracy_interval"] == list(wilson(2, 3))
    assert "xstest tiny" in capsys.readouterr().out


def test_a_folder_without_labels_is_refused_with_the_files_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"judge_comparison\.jsonl"):
        main([f"labels={tmp_path}"])
    with pytest.raises(UserError, match="no folder"):
        main([f"labels={tmp_path / 'absent'}"])
