from __future__ import annotations

import dataclasses
from pathlib import Path

from cada_trl.report.facts import NO_CARD, card_note, card_rows, funnel_table, run_facts, split_sizes
from cada_trl.report.judges import judge_note
from cada_trl.report.not_run import run_not_run, unchecked_overlap
from cada_trl.report.page import write_report
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import summarise
from tests.report.html_check import check_page
from tests.separability.made_up_card import made_up_card


def test_the_same_judge_for_reward_and_probes_is_warned_of(run: RunRecord) -> None:
    assert judge_note(summarise(run)).startswith("Warning: the judge phrases-12345678 paid the reward and also judged")


def test_another_judge_for_the_probes_is_named_without_a_warning(run: RunRecord) -> None:
    other = dataclasses.replace(run, manifest={**run.manifest, "probe_judge_id": "rubric-1"})
    assert "Warning" not in judge_note(summarise(other))
    assert "another one, rubric-1" in judge_note(summarise(other))


def test_a_run_that_does_not_name_its_judge_is_unverified(run: RunRecord) -> None:
    assert "unverified" in judge_note(summarise(dataclasses.replace(run, manifest={})))


def test_what_cannot_be_said_is_listed(run: RunRecord) -> None:
    before = [row for row in run.before if row.set != "held_out"]
    after = [row for row in run.after if row.set != "held_out"]
    smaller = dataclasses.replace(run, before=before, after=after)
    text = " ".join(run_not_run(smaller, summarise(smaller), n_seeds=1))
    assert "No probe on: held_out." in text
    assert "The probes are no benchmark" in text
    assert "One seed only" in text
    assert "One seed only" not in " ".join(run_not_run(run, summarise(run), n_seeds=3))


def test_a_folder_with_no_manifest_and_no_config_reads_unknown(run: RunRecord) -> None:
    facts = run_facts(dataclasses.replace(run, manifest={}, config={}))
    assert facts["Model"] == "unknown, unknown"
    assert facts["Wall time"] == "unknown"


CARD = made_up_card().summary()


def test_a_pair_is_a_row_and_an_absent_one_names_its_file() -> None:
    assert card_rows(CARD) == [
        ("StrongREJECT, XSTest safe", ["313, 250", "0.86 [0.83, 0.89]", "0.56 [0.50, 0.62]", "0.71 [0.67, 0.75]"]),
        ("AdvBench, OR-Bench hard", ["absent: sets/advbench/harmful_behaviors.csv", "", "", ""]),
    ]
    assert "layer 20 of 30" in card_note(CARD)


def test_the_page_shows_the_card_or_says_how_to_make_it(run: RunRecord, tmp_path: Path) -> None:
    without = write_report([run], tmp_path / "without").read_text()
    assert NO_CARD in without
    shown = dataclasses.replace(run, manifest={**run.manifest, "card": CARD})
    page = write_report([shown], tmp_path / "with").read_text()
    check_page(page)
    assert NO_CARD not in page
    for text in ("0.86 [0.83, 0.89]", "0.71 [0.67, 0.75]", "absent: sets/advbench", "look harmful"):
        assert text in page


DATA = {
    "funnel": {
        "harmful": {"read": 9, "dropped": {"too_long": 2}, "kept": 7},
        "harmless": {"read": 5, "dropped": {"exact_duplicate": 1}, "kept": 4},
    },
    "split": {"train": {"n": 5}, "probe": {"n": 2}},
    "decontamination": {"checked": True},
}


def test_every_filter_is_a_row_and_one_that_did_not_apply_is_blank() -> None:
    columns, rows = funnel_table(DATA)
    assert columns == ["harmful", "harmless"]
    assert rows == [
        ("read", ["9", "5"]),
        ("dropped: too long", ["2", ""]),
        ("dropped: exact duplicate", ["", "1"]),
        ("kept", ["7", "4"]),
    ]
    assert split_sizes(DATA) == "train 5, probe 2"


def test_a_manifest_without_a_funnel_gives_no_rows() -> None:
    assert funnel_table({}) == ([], [])
    assert funnel_table({"funnel": {"read": 9, "kept": 7}}) == ([], [])


def test_data_that_was_not_decontaminated_is_said() -> None:
    assert unchecked_overlap(DATA) is None
    assert unchecked_overlap({"decontamination": {"checked": False}}) == unchecked_overlap({})
    assert "not checked for overlap" in str(unchecked_overlap({}))
