"""A folder as read, by its kind: a run, an evaluation, faithfulness, utility or a sweep.

Files are checked against each other, so that a number on the page has its rows. Nothing in a folder is changed: it may
be in use.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cada_trl.errors import UserError
from cada_trl.evaluation.answers import (
    Attempt,
    Missing,
    Outcome,
    Response,
    from_row,
    join,
    read_responses,
    read_verdicts,
)
from cada_trl.evaluation.compare import Evaluated
from cada_trl.evaluation.faithfulness import Effects
from cada_trl.evaluation.folder import ATTEMPTS, EFFECTS, MISSING, RESPONSES, SCORES, EvaluationFolder, verdict_file
from cada_trl.evaluation.scores import Scores, score
from cada_trl.evaluation.utility.results import results_folder
from cada_trl.judging.judge import Judged, majorities
from cada_trl.report.run_record import RUN_FILES, Folder, Row, RunRecord, check_rows, if_readable, read_run
from cada_trl.storage.digest import found, read_config
from cada_trl.storage.files import read_json
from cada_trl.storage.log import StoredLog

FOLDERS = "runs/<name>, evals/<name>, faithfulness/<name>, utility/<name> or sweeps/<name>"
SWEEP = "sweep.json"
T = TypeVar("T")
Kind = TypeVar("Kind", Attempt, Missing)


@dataclass(frozen=True)
class EvalRecord(Folder):
    """One finished evaluation by the judge of its scores.json; outcomes in the attempts' order.

    by_judge: judge id -> attempt key -> verdict; verdicts and outcomes are the judge's of the scores: of a panel, the
    majority's.
    """

    scores: Scores
    responses: dict[str, Response]
    by_judge: dict[str, dict[str, Judged]]
    outcomes: list[Outcome]
    missing: list[Missing]

    @property
    def verdicts(self) -> dict[str, Judged]:
        return self.by_judge[self.scores.judge_id]

    @property
    def attempts(self) -> list[Attempt]:
        return [one.attempt for one in self.outcomes]

    @property
    def evaluated(self) -> Evaluated:
        """As evaluation.compare takes it."""
        return Evaluated(self.name, self.scores.judge_id, self.outcomes)

    def asked(self, benchmark: str) -> Row:
        """What the manifest says of the benchmark's items; {} where it says nothing."""
        rows = (self.manifest.get("decides") or {}).get("asked") or []
        return next((row for row in rows if isinstance(row, dict) and row.get("benchmark") == benchmark), {})

    def is_transfer(self, attack: str) -> bool:
        """The attack's prompts were made against another model."""
        return bool(((self.manifest.get("attacks") or {}).get(attack) or {}).get("transfer"))


@dataclass(frozen=True)
class FaithfulnessRecord(Folder):
    """One model's probes under one prompt arm, by the judge of its effects.json."""

    effects: Effects


@dataclass(frozen=True)
class UtilityRecord(Folder):
    """One model's folder. results: result.json of each finished task; unfinished: task folders without one."""

    results: list[Row]
    unfinished: list[str]


@dataclass(frozen=True)
class CellRecord:
    """One trained model, or an initial one (seed and run are None). label: the configuration in words."""

    label: str
    config_hash: str
    seed: int | None
    run: RunRecord | None
    evaluations: list[EvalRecord]


@dataclass(frozen=True)
class SweepRecord(Folder):
    """cells: those that are done and have their folders; missing: why others are not. manifest: sweep.json."""

    initial: list[CellRecord]
    cells: list[CellRecord]
    missing: list[str]

    @property
    def runs(self) -> list[tuple[str, RunRecord]]:
        """The trained cells, each by its configuration and seed."""
        return [(f"{cell.label}, seed {cell.seed}", cell.run) for cell in self.cells if cell.run is not None]


Record = RunRecord | EvalRecord | FaithfulnessRecord | UtilityRecord | SweepRecord


def read_record(path: Path) -> Record:
    """By its kind. Errors: UserError for a folder that is none, for edited rows, and as the kinds' own readers."""
    if not path.is_dir():
        raise UserError(f"no such folder: {path}; expected {FOLDERS}")
    if (path / SWEEP).is_file():
        return read_sweep(path)
    manifest = if_readable(path / "manifest.json")  # where it is damaged the kind's own reader says so
    if "interventions" in manifest:
        return read_faithfulness(path)
    if "tasks" in manifest or any(path.glob("*/result.json")):
        return read_utility(path)
    if "decides" in manifest or (path / ATTEMPTS).is_file():
        return read_evaluation(path)
    if any((path / name).is_file() for name in RUN_FILES):
        return read_run(path)
    raise UserError(
        f"{path} is no folder of a run, an evaluation or a utility result (no manifest.json, train.jsonl or {ATTEMPTS} "
        f"in it); give {FOLDERS}"
    )


def read_evaluated(path: Path) -> EvalRecord:
    """Read a finished evaluation. Errors: UserError for another folder, and as read_record."""
    record = read_record(path)
    if not isinstance(record, EvalRecord):
        raise UserError(f"{path} is no evaluation; expected evals/<name>, as python -m cada_trl.evaluate writes it")
    if (state := record.manifest.get("exit_state")) != "done":
        raise UserError(f"{path} is not finished (state: {state or 'unknown'}); the same command goes on with it")
    return record


def verdict_files(scores: Scores) -> dict[str, str]:
    """Judge id -> the file of its verdicts, for each that judged: of a panel its members."""
    return {one.judge_id: verdict_file(one.judge_id) for one in scores.judges or [scores]}


def every_cell(records: Sequence[EvalRecord]) -> list[tuple[str, str]]:
    """(benchmark, attack) each once, a benchmark's attacks together, in the order of the evaluations."""
    known = list(dict.fromkeys((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells))
    benchmarks = [benchmark for benchmark, _ in known]
    return sorted(known, key=lambda cell: benchmarks.index(cell[0]))


def read_evaluation(path: Path) -> EvalRecord:
    """Read an evaluation folder. Errors: UserError for one without scores (with the command that finishes it), for a
    damaged file (file, row, field), for scores that are not those of the folder's responses and verdicts, and as
    check_rows."""
    check_rows(path)
    folder = EvaluationFolder(path)
    manifest = folder.read_json("manifest.json")
    values = folder.read_json(SCORES)
    if not values:
        if "shard" in (manifest.get("decides") or {}):
            whole = path.parent.parent
            raise UserError(f"{path} is one part, without scores; its words without shard= score all parts in {whole}")
        state = manifest.get("exit_state") or "unknown"
        raise UserError(f"{path} has no {SCORES} (state: {state}); finish the evaluation with: {_command(manifest)}")
    scores = in_place(path / SCORES, lambda: Scores.from_json(values))
    files = verdict_files(scores)
    if lacking := [name for name in (ATTEMPTS, RESPONSES, *files.values()) if not (path / name).is_file()]:
        raise UserError(f"{path} lacks {', '.join(lacking)}; make it again with: {_command(manifest)}")
    attempts = _rows(path / ATTEMPTS, Attempt)
    responses = in_place(path / RESPONSES, lambda: read_responses(StoredLog(path / RESPONSES), attempts))
    by_judge = {judge: read_verdicts(StoredLog(path / name), judge, responses) for judge, name in files.items()}
    by_judge.setdefault(scores.judge_id, majorities(by_judge))
    missing = _rows(path / MISSING, Missing)
    outcomes = {judge: in_place(path, partial(join, attempts, responses, own)) for judge, own in by_judge.items()}
    first = outcomes.pop(scores.judge_id)
    metrics = {cell.benchmark: cell.metric for cell in scores.cells}
    without = Counter((one.benchmark, one.attack) for one in missing)
    strange = {benchmark for benchmark, _ in [*without, *(one.cell for one in first)]} - metrics.keys()
    if strange or score(first, without, metrics, scores.judge_id, scores.min_coverage, outcomes) != scores:
        raise UserError(
            f"{path / SCORES} does not hold the scores of this folder's responses and verdicts; make it again with: "
            f"{_command(manifest)}"
        )
    return EvalRecord(path, manifest, read_config(path), scores, responses, by_judge, first, missing)


def _rows(path: Path, kind: type[Kind]) -> list[Kind]:
    rows = enumerate(StoredLog(path).rows, start=1)
    return [in_place(f"{path}, row {number}", partial(from_row, kind, row)) for number, row in rows]


def in_place(place: Path | str, read: Callable[[], T]) -> T:
    """What `read` gives; its UserError names the place."""
    try:
        return read()
    except UserError as error:
        where = "" if str(place) in str(error) else f"{place}: "
        raise UserError(f"{where}{error}") from error


def _command(manifest: Row) -> str:
    """The call that made the folder, to be given again."""
    argv = manifest.get("argv")
    words = [str(word) for word in argv[1:]] if isinstance(argv, list) else ["..."]
    return shlex.join(["python", "-m", "cada_trl.evaluate", *words])


def read_faithfulness(path: Path) -> FaithfulnessRecord:
    """Read <faithfulness_dir>/<model>-<hash8>. Errors: UserError for probes without effects, for a damaged
    file, and as check_rows."""
    check_rows(path)
    folder = EvaluationFolder(path)
    manifest, values = folder.read_json("manifest.json"), folder.read_json(EFFECTS)
    if not values:
        state = manifest.get("exit_state") or "unknown"
        raise UserError(f"{path} has no {EFFECTS} (state: {state}); the command that made the folder goes on with it")
    effects = in_place(path / EFFECTS, lambda: Effects.from_json(values))
    return FaithfulnessRecord(path, manifest, read_config(path), effects)


def read_utility(path: Path) -> UtilityRecord:
    """Read <utility_dir>/<model>-<hash8>. Errors: UserError without a finished task, for a damaged file, and
    as check_rows."""
    check_rows(path)
    started = sorted(one.parent for one in results_folder(path).glob("*/definitions"))
    unfinished = [folder.name for folder in started if not (folder / "result.json").is_file()]
    results = [_result(file) for file in sorted(path.glob("*/result.json"))]
    return UtilityRecord(path, read_json(path / "manifest.json"), read_config(path), results, unfinished)


def _result(path: Path) -> Row:
    result = read_json(path)
    plan, others = result.get("plan"), result.get("other_filters") or {}
    task = plan.get("task") if isinstance(plan, dict) else None
    whole = isinstance(task, dict) and {"name", "num_fewshot", "chat_template", "filter"} <= task.keys()
    if not whole or not all(map(_is_rate, [result.get("accuracy"), *others.values()])):
        raise UserError(f"{path} is no result of a utility task; move its folder away, and the same command makes it")
    return result


def _is_rate(rate: Any) -> bool:
    values: list[Any] = [rate.get(key) for key in ("low", "value", "high")] if isinstance(rate, dict) else [None]
    numbers = all(isinstance(value, int | float) for value in values)
    return numbers and [0, *values, 1] == sorted([0, *values, 1]) and isinstance(rate.get("n"), int)


def read_sweep(path: Path) -> SweepRecord:
    """Read sweep.json and the folders that it names. Errors: UserError for a sweep.json that is damaged, and for cells
    whose evaluations, or probes where these stand in for them, were judged by different judges.

    A cell without numbers, and one whose folder is gone or damaged, is said in `missing` and never shown as a point.
    """
    advice = "the sweep's command writes it anew"
    values = read_json(path / SWEEP, advice)
    missing: list[str] = []
    try:
        initial, cells = (
            [cell for row in values[part] if (cell := _cell(path, values, row, part == "initial", missing))]
            for part in ("initial", "cells")
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path / SWEEP} is of another form ({error!r:.80}); {advice}") from error
    scores = [one.scores for cell in [*initial, *cells] for one in cell.evaluations]
    judged = {one.judge_id for one in scores}
    runs = [cell.run for cell in cells if cell.run and cell.run.after]
    probed = {str(judge) for run in runs if (judge := run.manifest.get("judge_id"))}
    stand_in = not {"asr", "nrr"} <= {cell.metric for one in scores for cell in one.cells}  # as frontier.axes_shown
    for judges, what in ((judged, "judge all"), (probed if stand_in else set(), "evaluate all")):
        if len(judges) > 1:
            raise UserError(
                f"{path}: its cells were judged by different judges ({', '.join(sorted(judges))}); {what} by one first"
            )
    return SweepRecord(path, values, {}, initial, cells, missing)


def _cell(path: Path, values: Row, row: Row, initial: bool, missing: list[str]) -> CellRecord | None:
    axes = {} if initial else row["axes"]
    words = [f"{axis}={_shown(axis, value, values)}" for axis, value in axes.items() if axis != "model"]
    if not words or len({one["model"] for one in values["cells"]}) > 1:
        words = [row["model"], *words]  # it is said where the cells have several
    # Of one model several were asked where cells have held-out twins of their own.
    alike = [one for one in values["initial"] if one["model"] == row["model"]]
    which = f" ({row['id']})" if len(alike) > 1 else ""
    label = f"initial {row['model']}{which}" if initial else ", ".join(words)
    about = label if initial else f"{label}, seed {row['seed']}"
    if row["state"] != "done":
        missing.append(f"{about}: {row['state']}" + (f" ({row['reason']})" if row["reason"] else ""))
        return None
    try:
        run = None if initial else read_run(found(path, row["run_folder"]))
        evaluations = [read_evaluation(found(path, one)) for one in row["evaluations"]]
    except UserError as error:
        missing.append(f"{about}: {error}")
        return None
    digest = row["id"] if initial else row["config_hash"]
    return CellRecord(label, digest, None if initial else row["seed"], run, evaluations)


def _shown(axis: str, value: Any, values: Row) -> str:
    """A float in six digits, or in all where another value of the axis has the same six: a label tells cells apart."""
    if not isinstance(value, float):
        return str(value)
    others = [cell["axes"].get(axis) for cell in values["cells"]]
    alike = {other for other in others if isinstance(other, float) and f"{other:g}" == f"{value:g}"}
    return f"{value:g}" if len(alike) == 1 else str(value)
