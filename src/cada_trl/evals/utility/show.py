"""Results and comparisons as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from cada_trl.evals.utility.compare import Comparison


def results_table(name: str, results: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy in percent with its Wilson interval, lm-eval's standard error, and how it was asked."""
    table = Table("task", "accuracy % [95 %]", "lm-eval ± se", "n", "note", title=f"{name}: utility")
    for result in results:
        rate, theirs = result["accuracy"], result["lm_eval"]
        stderr = "n/a" if theirs["stderr"] is None else f"{100 * theirs['stderr']:.1f}"
        table.add_row(
            result["task"],
            f"{_percent(rate['value'])} [{_percent(rate['low'])}, {_percent(rate['high'])}]",
            f"{_percent(theirs['accuracy'])} ± {stderr}",
            f"{result['n']} of {result['n_published']}",
            _note(result),
        )
    return table


def comparison_table(before: str, after: str, comparisons: Sequence[Comparison]) -> Table:
    """Both accuracies in percent and their difference in points, in pairs."""
    columns = ("task", "n", before, after, "difference [95 %]", "only before, only after", "McNemar p")
    table = Table(*columns, title="the same questions, in pairs")
    for one in comparisons:
        value, low, high = (f"{100 * end:+.1f}" for end in one.difference)
        table.add_row(
            one.task,
            str(one.n),
            _percent(one.before),
            _percent(one.after),
            f"{value} [{low}, {high}]",
            f"{one.only_before}, {one.only_after}",
            f"{one.p:.3f}",
        )
    return table


def _note(result: Mapping[str, Any]) -> str:
    task = result["plan"]["task"]
    notes = [f"{task['num_fewshot']}-shot", "chat template" if task["chat_template"] else "no chat template"]
    notes += [f"{name} {_percent(rate['value'])}" for name, rate in result["other_filters"].items()]
    if result["prompts_cut"]:
        notes.append(f"{result['prompts_cut']} prompts cut to the context")
    return ", ".join(notes)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
