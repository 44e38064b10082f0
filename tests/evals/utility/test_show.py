from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from cada_trl.evals.utility.compare import Comparison
from cada_trl.evals.utility.show import comparison_table, results_table
from cada_trl.statistics import Estimate

RATE = {"value": 0.25, "low": 0.1, "high": 0.5}
RESULT: dict[str, Any] = {
    "task": "gsm8k",
    "n": 20,
    "n_published": 1319,
    "accuracy": RATE,
    "lm_eval": {"accuracy": 0.25, "stderr": 0.0993},
    "other_filters": {"strict-match": {"value": 0.05, "low": 0.0, "high": 0.2}},
    "prompts_cut": 0,
    "plan": {"task": {"num_fewshot": 0, "chat_template": True}},
}


def text(table: Table) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_an_accuracy_stands_with_its_interval_its_n_and_how_it_was_asked() -> None:
    shown = text(results_table("smollm2", [RESULT]))
    for part in ("25.0 [10.0, 50.0]", "25.0 ± 9.9", "20 of 1319", "0-shot, chat template, strict-match 5.0"):
        assert part in shown


def test_cut_prompts_and_a_missing_error_are_said() -> None:
    shown = text(results_table("m", [{**RESULT, "prompts_cut": 3, "lm_eval": {"accuracy": 0.25, "stderr": None}}]))
    assert "3 prompts cut to the context" in shown
    assert "25.0 ± n/a" in shown


def test_a_difference_is_in_points_with_its_sign() -> None:
    one = Comparison("mmlu", 100, 0.3, 0.25, 8, 3, Estimate(-0.05, -0.11, 0.02), 0.2266)
    shown = text(comparison_table("before", "after", [one]))
    for part in ("30.0", "25.0", "-5.0 [-11.0, +2.0]", "8, 3", "0.227"):
        assert part in shown
