from __future__ import annotations

from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.paper_beside import attack_sources, paper_beside


def test_ours_stands_beside_the_papers_with_what_differs(scored: EvalRecord) -> None:
    beside = paper_beside(scored, "llama-3")
    assert beside is not None and beside.paper == "LLaMA-3-8B, w/o SR"
    shown = {(line.benchmark, line.attack, line.measure): (line.ours.value, line.paper.value) for line in beside.lines}
    assert shown["StrongREJECT", "no attack", "ASR"] == ("75.0 %", "0.6 %")
    assert shown["StrongREJECT", "PAIR", "harmful score"][1] == "0.3841"
    assert shown["XSTest, safe", "no attack", "NRR"] == ("100.0 %", "88 %")
    differences = {what: (ours, theirs) for what, ours, theirs in beside.differences}
    assert "strongreject-made-up-1" in differences["judge"][0] and "gpt-4o-mini" in differences["judge"][1]
    assert "PAIR (frozen, transfer)" in differences["attacks"][0] and "gpt-4o-mini" in differences["attacks"][1]


def test_a_model_that_the_paper_lacks_stands_alone(before: EvalRecord) -> None:
    assert paper_beside(before, "before") is None


def test_where_frozen_prompts_come_from_is_counted(before: EvalRecord) -> None:
    assert attack_sources(before) == [
        "StrongREJECT, PAIR: transfer, made against another-model, https://example.org/prompts (22 prompts)"
    ]
