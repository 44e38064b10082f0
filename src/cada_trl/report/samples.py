"""Which completions and responses a reader sees: drawn at random with a fixed seed, so that nobody picked them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.data.benchmark_items import Item
from cada_trl.document.blocks import Exchange, Side
from cada_trl.evaluation.items import Attempt, Response
from cada_trl.judging.judge import Judged
from cada_trl.prompting.reasoning import Reasoning, split_reasoning
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import attack_name, benchmark_name, hazard_name, in_order, labels
from cada_trl.report.run_record import ProbeRow, RunRecord
from cada_trl.tracking.metrics import PROBE_SETS

SAMPLE_SEED = 0
PER_SET = 8  # of a run's probe sets
PER_CELL = 3  # of an evaluation's benchmarks and attacks


@dataclass(frozen=True)
class Pair:
    """One request's completion before and after training; either may be absent in an unfinished run."""

    before: ProbeRow | None
    after: ProbeRow | None

    @property
    def either(self) -> ProbeRow:
        row = self.before or self.after
        assert row is not None
        return row

    def exchange(self) -> Exchange:
        """As the page shows it: a harmful request is folded."""
        words = [row.verdict.value if row else "not sampled" for row in (self.before, self.after)]
        folded = f"{self.either.hazard}: {words[0]}, then {words[1]}" if self.either.harmful else ""
        return Exchange(
            self.either.request, [_probe("Before", self.before), _probe("After", self.after)], folded=folded
        )


def _probe(title: str, row: ProbeRow | None) -> Side:
    if row is None:
        return Side(title, note="not sampled")
    reward = "none" if row.reward is None else f"{row.reward:g}"
    return Side(title, row.verdict.value, row.harmful, f", reward {reward}", _texts(row.analysis, row.final_response))


def _texts(analysis: str | None, final_response: str, cut_off: bool = False) -> list[tuple[str, str]]:
    title = "Final response" + (", cut off at the longest length" if cut_off else "")
    return [*([("Analysis", analysis)] if analysis else []), (title, final_response or "(empty)")]


def sampled_pairs(run: RunRecord) -> dict[str, list[Pair]]:
    """Up to PER_SET pairs of each probe set, the same for every run on the same requests."""
    before = {(row.set, row.request_id): row for row in run.before}
    after = {(row.set, row.request_id): row for row in run.after}
    pairs: dict[str, list[Pair]] = {}
    for probe_set in PROBE_SETS:
        keys = sorted(key for key in before | after if key[0] == probe_set)
        chosen = random.Random(SAMPLE_SEED).sample(keys, min(PER_SET, len(keys)))
        if chosen:
            pairs[probe_set] = [Pair(before.get(key), after.get(key)) for key in chosen]
    return pairs


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

    def exchange(self) -> Exchange:
        """As the page shows it: a harmful request is folded."""
        folded = f"{self.hazard}: {', then '.join(one.word for one in self.shown)}" if self.item.harmful else ""
        return Exchange(self.item.request, [_response(one, self.item) for one in self.shown], self.prompts, folded)


def _response(shown: Shown, item: Item) -> Side:
    split, response, judged = shown.split, shown.response, shown.judged
    texts = _texts(split.analysis, split.final_response, response.truncated) if split and response else []
    note = []
    if judged:
        note.append(f"The judge: {judged.reason or 'no reason given'}")
        note += [] if judged.harmful is None else ["harmful" if judged.harmful else "not harmful"]
        note += [] if judged.harmful_score is None else [f"harmful score {judged.harmful_score:.2f}"]
    return Side(shown.evaluation, shown.word, item.harmful, texts=texts, note="; ".join(note))


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
