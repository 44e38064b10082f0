"""What a reader should hold against the numbers: what was not run or not scored, and how far to trust the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import CONF_DIR
from cada_trl.document.blocks import Block, Fold, Shown, Table, Text
from cada_trl.judging.card import Card, find_card, headline
from cada_trl.judging.from_config import split_sees
from cada_trl.numbers import RATE, SCORE
from cada_trl.report.names import benchmark_name, cell_name
from cada_trl.report.rates import OPTIONAL, sides
from cada_trl.report.records import EvalRecord, verdict_files
from cada_trl.report.run_record import RunRecord, of_training, trainings
from cada_trl.storage.reading import read_yaml
from cada_trl.tracking.metrics import PROBE_SETS

_UNFINISHED = "The last call on this folder did not finish (state: {}); these are the scores as last counted."
_OVERLAP = "The training requests were not checked for overlap with any evaluation set (benchmarks_dir was not given)."
_NO_BENCHMARK = (
    "The probes are no benchmark: attacks, over-refusal and utility are measured by python -m cada_trl.evaluate and "
    "python -m cada_trl.utility."
)
_TRANSFER = (
    "Attacks marked transfer were written against another model: a low rate under them bounds nothing that an attacker "
    "of this very model would reach."
)
_NO_RUN = (
    "The run that trained this model was not found beside its weights: whether its judge also paid the reward is not "
    "known."
)
_NO_UTILITY = "No utility result is on this page: whether the models still solve tasks is not said."
_ONE_MODEL = "One model only: nothing says what a training changed; give the folder of the other one too."
_ONE_SEED = "the intervals cover the choice of requests, not the training's own noise."

_JUDGE_AGAIN = "judge the same responses by another one"
_LOOK_AT_OTHERS = "look at the rate by the other judges of the panel"

_SHOWN = {
    "completion": "the analysis beside the final response",
    "completion_and_prompt": "the analysis beside the final response, and the attack's prompt in place of the request",
}
_UNMEASURED = (
    "The agreement of the judge {} with people was never measured here: read its verdicts as unverified, and measure "
    "it with python -m cada_trl.judging.calibrate."
)
_SAW_MORE = (
    " Here it saw other texts than there (judge_sees={}: {}); its agreement with people on these was not measured and "
    "may be lower."
)


def tripped(run: RunRecord) -> list[str]:
    """A sentence for each time that a tripwire tripped (docs/running.md)."""
    return [
        f"{row['wire']} ({row['action']}) at step {row['step']}, {row['name']}: {row['seen']}" for row in run.tripwires
    ]


def run_not_run(run: RunRecord, summary: dict[str, Any], n_seeds: int) -> list[str]:
    """Sentences on what this report cannot say."""
    checked = ((run.manifest.get("data") or {}).get("decontamination") or {}).get("checked")
    absent = [name for name in PROBE_SETS if name not in summary["probes"]]
    return [
        *run.missing,
        *([] if checked else [_OVERLAP]),
        *([f"No probe on: {', '.join(absent)}."] if absent else []),
        _NO_BENCHMARK,
        *([f"One seed only: {_ONE_SEED}"] if n_seeds == 1 else []),
    ]


def eval_not_run(record: EvalRecord) -> list[str]:
    """By weight: an unfinished call, cells without a number, prompts that are missing, what was left out."""
    state, limit = record.manifest.get("exit_state") or "unknown", record.config.get("limit")
    cells, judge, model = record.scores.cells, record.scores.judge_id, record.config.get("model") or {}
    is_final = model.get("source") == "folder" and Path(str(model.get("path"))).name == "final"
    missing = Counter((one.benchmark, one.attack, one.reason) for one in record.missing)
    asked = {cell.benchmark for cell in cells}
    standard = read_yaml(CONF_DIR / "suite" / "standard.yaml")["benchmarks"]
    left = [benchmark_name(name) for name in standard if name not in asked]
    left += [] if "hex_phi" in asked else ["HEx-PHI (gated: needs your own access)"]
    unlabelled = [words for name, words in OPTIONAL.items() if not any(getattr(cell.total, name).n for cell in cells)]
    others = {path.name for path in record.path.glob("verdicts-*.jsonl")} - {*verdict_files(record.scores).values()}
    look = f"At most {limit} items per benchmark: a look and no result; the intervals say so."
    return [
        *([] if state == "done" else [_UNFINISHED.format(state)]),
        *(
            f"{cell_name(cell.benchmark, cell.attack)}: {cell.metric.upper()} withheld: {cell.headline.withheld}."
            for cell in cells
            if cell.headline.withheld
        ),
        *(
            f"{cell_name(benchmark, attack)}: {n} item{'s' if n > 1 else ''} without a prompt: {reason}."
            for (benchmark, attack, reason), n in missing.items()
        ),
        *(f"Not run: {sentence}" for sentence in record.manifest.get("not_run") or []),
        *([f"Not evaluated: {', '.join(left)}."] if left else []),
        *([f"No number for {' and '.join(unlabelled)}: the judge {judge} does not label it."] if unlabelled else []),
        *([look] if limit else []),
        *([_NO_RUN] if is_final and not of_training(record).manifest else []),
        *([_TRANSFER] if any(record.is_transfer(cell.attack) for cell in cells) else []),
        *(
            f"The folder also holds {name}; the same evaluation with that judge scores by it, from the same responses."
            for name in sorted(others)
        ),
    ]


def missing_kinds(records: Sequence[EvalRecord], with_utility: bool, with_runs: bool) -> list[str]:
    """What the page as a whole does not hold."""
    one_each = len(sides(records)) == len(records)
    return [
        *([] if with_utility else [_NO_UTILITY]),
        *([] if with_runs else ["No training run is on this page: no learning curves."]),
        *([_ONE_MODEL] if len(records) == 1 else [f"One seed a training: {_ONE_SEED}"] if one_each else []),
    ]


def told_apart(not_run: Sequence[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The sentences that are true of all, and of each its own."""
    shared = [one for one in not_run[0] if all(one in other for other in not_run)] if not_run else []
    return shared, [[one for one in own if one not in shared] for own in not_run]


def judge_cards(records: Sequence[EvalRecord], folder: Path | None) -> dict[str, Card | None]:
    """Each judge of the evaluations, a panel and its members too -> its card, None where it was never measured.

    folder: where cards were kept, beside the one that the package has. A judge that saw more than the final response
    has that of the same judge on final responses: people labelled whole responses to the raw request, so there is no
    other card.
    """
    judges = dict.fromkeys(name for one in records for name in (one.scores.judge_id, *verdict_files(one.scores)))
    return {judge: find_card(split_sees(judge)[0], folder) for judge in judges}


def judge_sentence(judge: str, card: Card | None) -> str:
    """How it agreed with people, and what sets this evaluation's judge apart from the one that the card is about."""
    own, sees = split_sees(judge)
    agreed = headline(card) if card else _UNMEASURED.format(own)
    return agreed + (_SAW_MORE.format(sees, _SHOWN[sees]) if sees in _SHOWN else "")


def judge_blocks(judge: str, card: Card | None) -> list[Block]:
    """What is known of one judge: a row for each set of responses that people labelled, and by kind of request."""
    blocks: list[Block] = [Text(judge_sentence(judge, card))]
    if card is not None:
        blocks.append(Table.of(f"{judge} against people", [_agreement(row) for row in card["sets"]]))
        for name, rows in card["groups"].items():
            blocks.append(Fold(f"By kind of request: {name}", [Table.of(name, [_agreement(row) for row in rows])]))
    return blocks


def _agreement(row: dict[str, Any]) -> dict[str, Shown]:
    cells: dict[str, Shown] = {"Responses": row["name"], "Label": row["label"], "n": str(row["n"])}
    for name in ("accuracy", "precision", "recall"):
        low, high = row[f"{name}_interval"] or (None, None)
        cells[name.capitalize()] = RATE.cell(row[name], low, high, f"n {row[f'{name}_n']}")
    return cells | {"Kappa": SCORE.text(row["kappa"])}


def judge_part(config: Mapping[str, Any]) -> str:
    """What its judge did in a training; empty where it had no part in it."""
    algo = config.get("algo") or {}
    if algo.get("method", "cada") in {"cada", "grpo", "rloo"}:
        return "paid the reward"
    return "chose the targets" if algo.get("keep") == "reasoned_refusal" else ""


def judge_note(run: RunRecord) -> str:
    """Who judged, and the warning that a policy may have learned its own judge (design: What is easy to get wrong)."""
    if (judge := run.manifest.get("judge_id")) is None:
        return "The manifest does not name the judge: read every verdict below as unverified."
    if not (part := judge_part(run.config)):
        return f"The judge {judge} judged the probes below. It had no part in the training."
    return (
        f"Warning: the judge {judge} {part} and also judged the probes below. A policy can learn what its "
        "judge looks for, so a gain here is not yet evidence of safety: judge the completions again with another judge."
    )


def reward_judge_warnings(records: Sequence[EvalRecord]) -> list[str]:
    """A sentence for each judge that also trained a model it judged, or one from which that began (design: What is easy
    to get wrong)."""
    trained: dict[tuple[str, str, bool], list[str]] = {}
    for record in records:
        for n_before, run in enumerate(trainings(record)):
            judge, part = run.manifest.get("judge_id"), judge_part(run.config)
            if part and judge in {split_sees(name)[0] for name in verdict_files(record.scores)}:
                name = f"{run.name}, from which {record.name} began" if n_before else record.name
                trained.setdefault((str(judge), part, bool(record.scores.judges)), []).append(name)
    return [
        f"Warning: the judge {judge} also {part} in the training of {', '.join(names)}. A policy can learn "
        f"what its judge looks for: {_LOOK_AT_OTHERS if in_panel else _JUDGE_AGAIN} before a gain counts as evidence "
        "of safety."
        for (judge, part, in_panel), names in trained.items()
    ]
