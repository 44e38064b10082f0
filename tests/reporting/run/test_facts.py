from __future__ import annotations

import dataclasses

from cada_trl.reporting.run.facts import judge_note, not_run, run_facts
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.summary import summarise


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
    text = " ".join(not_run(smaller, summarise(smaller), n_seeds=1))
    assert "No probe on: held_out." in text
    assert "The probes are no benchmark" in text
    assert "One seed only" in text
    assert "One seed only" not in " ".join(not_run(run, summarise(run), n_seeds=3))


def test_a_folder_with_no_manifest_and_no_config_reads_unknown(run: RunRecord) -> None:
    facts = run_facts(dataclasses.replace(run, manifest={}, config={}))
    assert facts["Model"] == "unknown, unknown"
    assert facts["Wall time"] == "unknown"
