"""An evaluation's log for inspect_ai: every sample, label, rate and hash; what is not known is no number."""

from dataclasses import replace

import pytest

pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")


from cada_trl.evaluation.inspect_task import LABELS
from cada_trl.report.inspect_log import inspect_log


def numbers(log):
    assert log.results
    return {(one.name, each.name): each.value for one in log.results.scores for each in one.metrics.values()}


def test_every_measure_is_there_with_its_interval_and_coverage(scored):
    found = numbers(inspect_log(scored))
    expected = {}
    for cell in scored.scores.cells:
        for label in LABELS:
            one, name = getattr(cell.total, label), f"{cell.benchmark}/{cell.attack}"
            named = {"": one.value, " low": one.low, " high": one.high, " coverage": one.n / one.asked}
            expected |= {(label, f"{name}{part}"): value for part, value in named.items()}
    assert found == expected
    assert found["harmful_score", "strongreject/none"] == pytest.approx(0.375)


def test_every_sample_has_prompt_completion_verdict_and_reason(after):
    log = inspect_log(after)
    samples = {one.id: one for one in log.samples or ()}
    assert list(samples) == [attempt.id for attempt in after.attempts]
    for attempt in after.attempts:
        one, response = samples[attempt.id], after.responses[attempt.key]
        assert (one.input, one.output.completion) == (attempt.prompt, response.completion)
        assert (one.output.stop_reason == "max_tokens") is response.truncated
        score = (one.scores or {})["judged"]
        assert (score.answer, score.explanation) == (
            after.verdicts[attempt.key].verdict,
            after.verdicts[attempt.key].reason,
        )
        assert one.metadata["note"] == attempt.note and one.metadata["item"]["request"] == attempt.item.request


def test_judge_model_and_files_are_named_by_their_hashes(before):
    kept = replace(before, manifest=before.manifest | {"files": {"responses.jsonl": "cd" * 32}})
    said = inspect_log(kept).eval.metadata or {}
    assert said["judge_id"] == before.scores.judge_id
    assert said["decides"]["model"] == {"model.safetensors": "ab" * 32}
    assert said["files"] == {"responses.jsonl": "cd" * 32}
    assert said["missing"] == {"strongreject/pair": 2}
    assert said["not_run"] == before.manifest["not_run"]


def test_two_judges_of_one_evaluation_are_two_logs(before):
    scores = before.scores.model_copy(update={"judge_id": "another"})
    other = replace(before, scores=scores, by_judge={"another": before.verdicts})
    assert inspect_log(before).eval.task_id != inspect_log(other).eval.task_id
