"""A run folder as read: typed probe rows, and what is missing said in words instead of filled in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cada_trl.errors import UserError
from cada_trl.models.load import runs_behind
from cada_trl.records import Status, Verdict, read_jsonl
from cada_trl.storage.digest import CONFIG, MANIFEST, check_kept, found, read_config
from cada_trl.storage.files import read_json
from cada_trl.tracking.metrics import PROBE_SETS

Row = dict[str, Any]
Series = dict[str, list[tuple[int, float]]]  # metric -> (step, value), by step
UNKNOWN = "unknown"  # the configuration of a run without its manifest
RUN_FILES = ("manifest.json", "config.yaml", "train.jsonl")  # a run folder has one of them


class ProbeRow(BaseModel):
    """One probe completion, as probes/*.jsonl holds it; reward is None where the judge gave no verdict."""

    model_config = ConfigDict(frozen=True)

    set: Literal[PROBE_SETS]  # type: ignore[valid-type]
    request_id: str
    request: str
    hazard: str
    harmful: bool
    analysis: str | None
    final_response: str
    status: Status
    verdict: Verdict
    reward: float | None

    @property
    def reasoned(self) -> bool:
        """Both headers with an analysis, as the reward pays it: a completion cut off on the way shows none."""
        return self.status is Status.OK and bool(self.analysis and self.analysis.strip())


@dataclass(frozen=True)
class Folder:
    """What a verb wrote into a folder, as read: its manifest.json and its config.yaml."""

    path: Path
    manifest: Row
    config: Row

    @property
    def name(self) -> str:
        return self.path.resolve().name


@dataclass(frozen=True)
class RunRecord(Folder):
    """What one run folder holds; missing lists, in sentences, what a finished run would have besides."""

    steps: list[Row]
    before: list[ProbeRow]
    after: list[ProbeRow]
    missing: list[str]
    tripwires: list[Row] = field(default_factory=list)  # what tripped, in order

    @property
    def config_hash(self) -> str:
        return str(self.manifest.get("config_hash") or UNKNOWN)

    @property
    def seed(self) -> Any:
        return self.config.get("seed", "unknown")


def if_readable(path: Path) -> Row:
    """The mapping in a folder's manifest.json or config.yaml; {} where it is absent or damaged."""
    try:
        return read_json(path) if path.suffix == ".json" else read_config(path.parent)
    except UserError:
        return {}


def trainings(record: Folder) -> Iterator[Folder]:
    """The run whose final/ is an evaluation's model, then that which it began from, and so on. Errors: as
    runs_behind."""
    model = record.config.get("model") or {}
    if model.get("source") == "folder":
        weights = found(record.path, Path(str(model.get("path"))).parent) / "final"
        for run in runs_behind(weights):
            yield Folder(run, if_readable(run / MANIFEST), if_readable(run / CONFIG))


def of_training(record: Folder) -> Folder:
    """The first of these; an empty one where no run stands beside the weights."""
    return next(trainings(record), Folder(record.path, {}, {}))


def check_rows(path: Path) -> None:
    """Errors: UserError for a file of the folder that was edited after it was written. A lost manifest is said, too."""
    manifest = if_readable(path / "manifest.json")  # where it is damaged the folder's reader says so
    has_rows = any(path.glob("*.jsonl"))
    check_kept(path, manifest or ({"exit_state": "unknown"} if has_rows else {}))


def read_run(path: Path) -> RunRecord:
    """Read a run folder, finished or not; the torn last line of one that was killed is left out and said in `missing`.
    Errors: UserError for a folder that is missing or is no run folder, for a damaged line (file, row, field), and as
    check_rows."""
    if not path.is_dir():
        raise UserError(f"no such run folder: {path}; expected a folder that `python -m cada_trl.train` wrote")
    if not any((path / name).is_file() for name in RUN_FILES):
        raise UserError(
            f"{path} is no run folder: no manifest.json, config.yaml or train.jsonl in it; give runs/<name>"
        )
    check_rows(path)
    missing: list[str] = []
    manifest = _parsed(path / "manifest.json", missing)
    config = _parsed(path / "config.yaml", missing)
    if config and not {"seed", "model", "algo", "reward"} <= config.keys():
        raise UserError(f"{path} is no run folder: its config.yaml is of another program; give runs/<name>")
    if not (path / "train.jsonl").is_file():
        missing.append("train.jsonl is missing: no training step was recorded.")
    steps = _lines(path / "train.jsonl", missing)
    before = _probe(path / "probes" / "before.jsonl", missing)
    after = _probe(path / "probes" / "after.jsonl", missing)
    state = manifest.get("exit_state")
    if state != "done":
        last = steps[-1].get("step") if steps else 0
        missing.insert(0, f"The run did not finish: its state is {state or 'unknown'}, its last step {last}.")
    tripwires = _lines(path / "tripwires.jsonl", missing)
    return RunRecord(path, manifest, config, steps, before, after, missing, tripwires)


def series_of(run: RunRecord) -> Series:
    """What train.jsonl and probes.jsonl hold of each metric by step, an absent value and a torn last line left out.
    Errors: UserError for a damaged one."""
    series: Series = {}
    for row in [*run.steps, *_lines(run.path / "probes.jsonl", [])]:
        for name, value in row.items():
            if "/" in name and value is not None:
                series.setdefault(name, []).append((row["step"], value))
    return {name: sorted(points, key=lambda point: point[0]) for name, points in series.items()}


def _parsed(path: Path, missing: list[str]) -> Row:
    if not path.is_file():
        missing.append(f"{path.name} is missing.")
        return {}
    return read_json(path, "restore it or delete it") if path.suffix == ".json" else read_config(path.parent)


def _lines(path: Path, missing: list[str]) -> list[Row]:
    """The rows that have a step; none where there is no file."""
    rows = []
    for number, row in read_jsonl(path, torn=missing.append) if path.is_file() else ():
        if not isinstance(row.get("step"), int):
            raise UserError(f"{path}, row {number}: field 'step' is {row.get('step')!r}; expected a whole number")
        rows.append(row)
    return rows


def _probe(path: Path, missing: list[str]) -> list[ProbeRow]:
    if not path.is_file():
        missing.append(f"The probe {path.stem} training was not run (probes/{path.name} is missing).")
        return []
    rows: list[ProbeRow] = []
    seen: set[tuple[str, str]] = set()
    for number, row in read_jsonl(path):
        try:
            probe_row = ProbeRow.model_validate(row)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"])
            raise UserError(
                f"{path}, row {number}: field '{field}': {problem['msg']}; got {row.get(field)!r}"
            ) from error
        key = (probe_row.set, probe_row.request_id)
        if key in seen:
            raise UserError(f"{path}, row {number}: request_id {key[1]!r} stands twice in {key[0]}; expected it once")
        seen.add(key)
        rows.append(probe_row)
    return rows
