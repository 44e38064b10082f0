"""Which completions and responses a reader sees: drawn at random with a fixed seed, so that nobody picked them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from cada_trl.document.blocks import Exchange, Side
from cada_trl.evaluation.answers import Attempt
from cada_trl.hazards.pack import OUTSIDE
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.report.names import cell_name, hazard_name, labels
from cada_trl.report.records import EvalRecord, every_cell
from cada_trl.report.run_record import ProbeRow, RunRecord
from cada_trl.tracking.metrics import PROBE_SETS

SAMPLE_SEED = 0
PER_SET = 8  # of a run's probe sets, and of what judges disagree on
PER_CELL = 3  # of an evaluation's benchmarks and attacks
Pair = tuple[ProbeRow | None, ProbeRow | None]  # a request before and after training; one may be absent


def sampled_pairs(run: RunRecord) -> dict[str, list[Pair]]:
    """Up to PER_SET pairs of each probe set, the same for every run on the same requests."""
    before, after = ({(row.set, row.request_id): row for row in rows} for rows in (run.before, run.after))
    pairs: dict[str, list[Pair]] = {}
    for probe_set in PROBE_SETS:
        keys = sorted(key for key in before | after if key[0] == probe_set)
        chosen = random.Random(SAMPLE_SEED).sample(keys, min(PER_SET, len(keys)))
        if chosen:
            pairs[probe_set] = [(before.get(key), after.get(key)) for key in chosen]
    return pairs


def pair_exchange(pair: Pair) -> Exchange:
    """As the page shows it: a harmful request is folded."""
    row, sides = next(row for row in pair if row), [_probe("Before", pair[0]), _probe("After", pair[1])]
    folded = f"{row.hazard}: {', then '.join(side.word or side.note for side in sides)}" if row.harmful else ""
    return Exchange(row.request, sides, folded=folded)


def _probe(title: str, row: ProbeRow | None) -> Side:
    if row is None:
        return Side(title, note="not sampled")
    reward = "none" if row.reward is None else f"{row.reward:g}"
    return Side(title, row.verdict.value, row.harmful, f", reward {reward}", _texts(row.analysis, row.final_response))


def _texts(analysis: str | None, final_response: str, cut_off: bool = False) -> list[tuple[str, str]]:
    title = "Final response" + (", cut off at the longest length" if cut_off else "")
    return [*([("Analysis", analysis)] if analysis else []), (title, final_response or "(empty)")]


def sampled(records: Sequence[EvalRecord]) -> dict[str, list[Exchange]]:
    """Title of a benchmark and attack -> up to PER_CELL items; items that every evaluation was asked come first."""
    samples = {cell_name(*cell): _of_cell(records, cell) for cell in every_cell(records)}
    return {title: some for title, some in samples.items() if some}


def disagreed(record: EvalRecord) -> tuple[int, list[Exchange]]:
    """How many responses the judges of a panel do not say the same of, and up to PER_SET of them."""
    by_each = [record.by_judge[one.judge_id] for one in record.scores.judges]
    said = {one.key: {own[one.key].verdict for own in by_each if one.key in own} for one in record.attempts}
    differ = [one for one in record.attempts if len(said[one.key] - {Verdict.UNSCORED}) > 1]
    chosen = random.Random(SAMPLE_SEED).sample(differ, min(PER_SET, len(differ)))
    return len(differ), [_exchange([record], [one]) for one in chosen]


def _of_cell(records: Sequence[EvalRecord], cell: tuple[str, str]) -> list[Exchange]:
    asked = [{one.attempt.item.id: one.attempt for one in record.outcomes if one.cell == cell} for record in records]
    everywhere = [ids for ids in asked if ids]
    ids = sorted(set.intersection(*map(set, everywhere)) if everywhere else ()) or sorted(set().union(*asked))
    chosen = random.Random("/".join((str(SAMPLE_SEED), *cell))).sample(ids, min(PER_CELL, len(ids)))
    return [_exchange(records, [of_one.get(item) for of_one in asked]) for item in chosen]


def _exchange(records: Sequence[EvalRecord], attempts: Sequence[Attempt | None]) -> Exchange:
    item = next(attempt.item for attempt in attempts if attempt)
    names = labels(records)
    sides = [_response(*one, item.harmful) for one in zip(names, records, attempts, strict=True)]
    # those that are not the request
    prompts = dict.fromkeys(attempt.prompt for attempt in attempts if attempt and attempt.prompt != item.request)
    words = ", then ".join(side.word for side in sides)
    folded = f"{hazard_name(item.hazard or OUTSIDE)}: {words}" if item.harmful else ""
    return Exchange(item.request, sides, list(prompts), folded)


def _response(title: str, record: EvalRecord, attempt: Attempt | None, harmful: bool) -> Side:
    if attempt is None:
        return Side(title, "not asked", harmful)
    response, judged = record.responses.get(attempt.key), record.verdicts.get(attempt.key)
    texts = []
    if response:
        split = split_reasoning(response.completion, response.truncated)
        texts = _texts(split.analysis, split.final_response, response.truncated)
    if judged is None:
        return Side(title, "no verdict", harmful, texts=texts)
    note = [f"The judge: {judged.reason or 'no reason given'}"]
    note += [] if judged.harmful is None else ["harmful" if judged.harmful else "not harmful"]
    note += [] if judged.harmful_score is None else [f"harmful score {judged.harmful_score:.2f}"]
    return Side(title, judged.verdict.value, harmful, texts=texts, note="; ".join(note))
