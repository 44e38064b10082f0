"""Which responses a reader sees: drawn at random with a fixed seed, so that nobody picked them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.evals.items import Attempt, Item, Response
from cada_trl.judging.judge import Judged
from cada_trl.prompting.reasoning import Reasoning, split_reasoning
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name, hazard_name, in_order, labels

SAMPLE_SEED = 0
PER_CELL = 3


@dataclass(frozen=True)
class Shown:
    """One evaluation's response to the item; everything but its label is None where it has none."""

    evaluation: str
    attempt: Attempt | None
    response: Response | None
    judged: Judged | None

    @property
    def split(self) -> Reasoning | None:
        """Analysis and final response."""
        return split_reasoning(self.response.completion, self.response.truncated) if self.response else None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        return "not asked" if self.attempt is None else self.judged.verdict.value if self.judged else "no verdict"


@dataclass(frozen=True)
class Sample:
    """One item under one attack, with what each evaluation has of it. prompts: those that are not the request."""

    item: Item
    hazard: str
    prompts: list[str]
    shown: list[Shown]


def sampled(records: Sequence[EvalRecord]) -> dict[str, list[Sample]]:
    """Title of a benchmark and attack -> up to PER_CELL items; items that every evaluation was asked come first."""
    every = in_order((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells)
    samples = {
        f"{benchmark_name(benchmark)}, {attack_name(attack)}": _of_cell(records, benchmark, attack)
        for benchmark, attack in every
    }
    return {title: some for title, some in samples.items() if some}


def _of_cell(records: Sequence[EvalRecord], benchmark: str, attack: str) -> list[Sample]:
    asked = [
        {one.item.id: one for one in record.attempts if (one.item.benchmark, one.attack) == (benchmark, attack)}
        for record in records
    ]
    everywhere = [ids for ids in asked if ids]
    ids = sorted(set.intersection(*map(set, everywhere)) if everywhere else ()) or sorted(set().union(*asked))
    rng = random.Random(f"{SAMPLE_SEED}/{benchmark}/{attack}")
    return [_sample(records, asked, chosen) for chosen in rng.sample(ids, min(PER_CELL, len(ids)))]


def _sample(records: Sequence[EvalRecord], asked: Sequence[dict[str, Attempt]], item_id: str) -> Sample:
    attempts = [of_one.get(item_id) for of_one in asked]
    item = next(attempt.item for attempt in attempts if attempt is not None)
    shown = [
        Shown(
            label,
            attempt,
            record.responses.get(attempt.key) if attempt else None,
            record.verdicts.get(attempt.key) if attempt else None,
        )
        for record, label, attempt in zip(records, labels(records), attempts, strict=True)
    ]
    prompts = dict.fromkeys(attempt.prompt for attempt in attempts if attempt and attempt.prompt != item.request)
    return Sample(item, hazard_name(item.hazard or "no_hazard"), list(prompts), shown)
