"""An evaluation folder as read: every file checked against the others, so that a number on the page has its rows."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cada_trl.errors import UserError
from cada_trl.evaluation.answers import read_responses, read_verdicts
from cada_trl.evaluation.compare import Evaluated
from cada_trl.evaluation.folder import ATTEMPTS, MISSING, RESPONSES, SCORES, EvaluationFolder, verdict_file
from cada_trl.evaluation.items import Attempt, Missing, Outcome, Response, from_row, join
from cada_trl.evaluation.scores import ScoredCell, Scores, score
from cada_trl.judging.judge import Judged
from cada_trl.judging.panel import majorities
from cada_trl.report.run_record import Folder
from cada_trl.storage.digest import read_config
from cada_trl.storage.log import StoredLog

Row = dict[str, Any]
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

    def cell(self, benchmark: str, attack: str) -> ScoredCell | None:
        """The scores of one benchmark under one attack; None where it was not run."""
        return self.scores.cell(benchmark, attack)

    def is_transfer(self, attack: str) -> bool:
        """The attack's prompts were made against another model."""
        return bool(((self.manifest.get("attacks") or {}).get(attack) or {}).get("transfer"))


def verdict_files(scores: Scores) -> dict[str, str]:
    """Judge id -> the file of its verdicts, for each that judged: of a panel its members."""
    return {one.judge_id: verdict_file(one.judge_id) for one in scores.judges or [scores]}


def every_cell(records: Sequence[EvalRecord]) -> list[tuple[str, str]]:
    """(benchmark, attack) each once, a benchmark's attacks together, in the order of the evaluations."""
    known = list(dict.fromkeys((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells))
    benchmarks = [benchmark for benchmark, _ in known]
    return sorted(known, key=lambda cell: benchmarks.index(cell[0]))


def read_evaluation(path: Path) -> EvalRecord:
    """Read an evaluation folder; nothing in it is changed, so that it may be in use.

    Errors: UserError for an evaluation without scores (with the command that finishes it), for a damaged file (file,
    row, field), and for scores that are not those of the folder's responses and verdicts.
    """
    folder = EvaluationFolder(path)
    manifest = folder.read_json("manifest.json")
    values = folder.read_json(SCORES)
    if not values:
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
    outcomes = {
        judge: in_place(path, partial(join, attempts, responses.values(), own)) for judge, own in by_judge.items()
    }
    first = outcomes.pop(scores.judge_id)
    if not _same(scores, first, missing, outcomes):
        raise UserError(
            f"{path / SCORES} does not hold the scores of this folder's responses and verdicts; make it again with: "
            f"{_command(manifest)}"
        )
    return EvalRecord(path, manifest, read_config(path), scores, responses, by_judge, first, missing)


def _same(
    scores: Scores, outcomes: Sequence[Outcome], missing: Sequence[Missing], judges: Mapping[str, Sequence[Outcome]]
) -> bool:
    metrics = {cell.benchmark: cell.metric for cell in scores.cells}
    without = Counter((one.benchmark, one.attack) for one in missing)
    if {benchmark for benchmark, _ in [*without, *(one.cell for one in outcomes)]} - metrics.keys():
        return False
    return score(outcomes, without, metrics, scores.judge_id, scores.min_coverage, judges) == scores


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
