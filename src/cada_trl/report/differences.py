"""What two folders' configurations and manifests say differently, and the first step at which two trainings part."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from cada_trl.config.loading import flat
from cada_trl.config.run_config import HOW_ASKED
from cada_trl.records import read_jsonl
from cada_trl.report.run_record import Row, RunRecord
from cada_trl.tracking.metrics import METRICS

ABSENT = "absent"
TOLERANCE = 1e-6  # ours: relative; one machine, one seed and one code repeat every recorded number exactly
_SHOWN_CHARACTERS = 60


class Meaning(StrEnum):
    RESULT = "decides the result: another experiment"
    SEED = "another draw of the same experiment"
    MEASURED = "decides what is asked or how it is judged, not what was learned"
    CODE = "may decide the result: read what changed"
    PLACE = "only where and how it is computed: equal up to rounding"
    WRITTEN = "only what is written and where"


@dataclass(frozen=True)
class Difference:
    """what: a dotted key, or a name in words; a, b: the two values, ABSENT where one side has none."""

    what: str
    a: Any
    b: Any
    meaning: Meaning


# Dotted prefix -> meaning; "" is everything else. As config.config_hash counts: what it leaves out decides no result.
RUN_KEYS = {
    "": Meaning.RESULT,
    "seed": Meaning.SEED,
    **dict.fromkeys(("hardware", "rollout.server_url", "rollout.tensor_parallel"), Meaning.PLACE),
    "hardware.n_processes": Meaning.SEED,  # each process samples from a seed of its own
    **dict.fromkeys(("tracking", "tripwires", "runs_dir", "run_name", "data_dir"), Meaning.WRITTEN),
    **dict.fromkeys((f"judge.{key}" for key in HOW_ASKED), Meaning.PLACE),
    **dict.fromkeys(("model.chat", "judge.members"), Meaning.MEASURED),
    **dict.fromkeys(("tracking.probe_every_steps", "tracking.probe_batch"), Meaning.MEASURED),
    **dict.fromkeys(("tracking.n_probe_harmful", "tracking.n_probe_harmless"), Meaning.MEASURED),
}
EVALUATION_KEYS = {
    "": Meaning.MEASURED,
    **dict.fromkeys(("model", "prompt", "hazards", "generation"), Meaning.RESULT),
    **dict.fromkeys((f"generation.{key}" for key in ("threads", "batch_tok", "n_gpu")), Meaning.PLACE),
    **dict.fromkeys((f"judge.{key}" for key in HOW_ASKED), Meaning.PLACE),
    **dict.fromkeys((f"attacker.attacker_{key}" for key in HOW_ASKED), Meaning.PLACE),
    **dict.fromkeys(("evals_dir", "data_root"), Meaning.WRITTEN),
}
RUN_MANIFEST = {"": Meaning.RESULT, "git": Meaning.CODE, "packages": Meaning.CODE, "machine": Meaning.PLACE}
EVALUATION_MANIFEST = {**RUN_MANIFEST, **dict.fromkeys(("judge_id", "decides.asked"), Meaning.MEASURED)}
# Differ between any two folders, or are told elsewhere: data and configuration have sections of their own; a card is
# measured of both and decides nothing.
_TOLD_ELSEWHERE = (
    *("name", "run_name", "exit_state", "started_utc", "ended_utc", "argv"),
    *("wall_s", "earlier_s", "pass_wall_s", "shard_wall_s"),
    *("config_hash", "seeds", "data", "data_hash", "card", "decides_sha256", "attacks", "not_run", "model", "files"),
    *("manifest_sha256", "initial_model"),
)
LABELS = {
    "template_hash": "chat template",
    "hazards_hash": "case pack",
    "judge_id": "judge",
    "reference_hash": "initial weights",
    "git.commit": "code (commit)",
    "git.dirty": "files changed beside the commit",
}


def differences(a: Mapping[str, Any], b: Mapping[str, Any], meanings: Mapping[str, Meaning]) -> list[Difference]:
    """The dotted keys whose values differ: those that decide the result first, then in the first's order."""
    left, right = flat(a), flat(b)
    found = [
        Difference(key, left.get(key, ABSENT), right.get(key, ABSENT), meaning_of(key, meanings))
        for key in dict.fromkeys([*left, *right])
        if left.get(key, ABSENT) != right.get(key, ABSENT)
    ]
    return sorted(found, key=lambda one: list(Meaning).index(one.meaning))


def meaning_of(key: str, meanings: Mapping[str, Meaning]) -> Meaning:
    """The meaning of the longest prefix that ends at a dot of the key, or is the key."""
    parts = key.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), -1, -1)]
    return next(meanings[prefix] for prefix in prefixes if prefix in meanings)


def manifest_differences(a: Row, b: Row, meanings: Mapping[str, Meaning]) -> list[Difference]:
    """What the manifests say differently of template, judge, case pack, weights, code, packages and machine."""
    left, right = (
        {key: ABSENT if value is None else value for key, value in one.items() if key not in _TOLD_ELSEWHERE}
        for one in (a, b)
    )
    return [replace(one, what=LABELS.get(one.what, one.what)) for one in differences(left, right, meanings)]


def shared_facts(a: Row, b: Row, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is the same, what one of the two does not record) among these keys of a manifest, in words."""
    left, right = flat(a), flat(b)
    unknown = [key for key in keys if None in (left.get(key), right.get(key))]
    same = [LABELS.get(key, key) for key in keys if key not in unknown and left[key] == right[key]]
    return same, [LABELS.get(key, key) for key in unknown]


def unsure_code(a: Row, b: Row) -> bool:
    """A folder's code is not known: files differed from its commit, or there was no commit."""
    return any((one.get("git") or {}).get("dirty", True) for one in (a, b))


@dataclass(frozen=True)
class TextDifference:
    """Two texts to one request: where they part (character, from 0) and how each goes on."""

    request_id: str
    request: str
    at_char: int
    a: str
    b: str


@dataclass(frozen=True)
class Parting:
    """compared: steps that both recorded, in order, up to the parting. step and what are None where none parts.

    rollouts: (those that differ, all) at that step; None where a side kept none or the requests differ already.
    metrics: name -> the two values, for those beyond the tolerance.
    """

    compared: int
    step: int | None = None
    what: Literal["requests", "rollouts", "verdicts", "numbers"] | None = None
    rollouts: tuple[int, int] | None = None
    text: TextDifference | None = None
    metrics: dict[str, tuple[float | None, float | None]] | None = None


def parting(a: RunRecord, b: RunRecord, tolerance: float = TOLERANCE) -> Parting:
    """Compare step by step what both recorded. Errors: UserError for a damaged file of completions."""
    numbers = [{row["step"]: row for row in run.steps} for run in (a, b)]
    steps = sorted(numbers[0].keys() & numbers[1].keys())
    for compared, step in enumerate(steps, start=1):
        rows_a, rows_b = (_completions(run.path, step) for run in (a, b))
        metrics = _beyond(numbers[0][step], numbers[1][step], tolerance)
        found = {} if rows_a is None or rows_b is None else _of_step(rows_a, rows_b)
        if "what" in found or metrics:
            return Parting(compared, step, **{"what": "numbers", **found, "metrics": metrics})
    return Parting(len(steps))


def text_difference(request_id: str, request: str, a: str, b: str) -> TextDifference:
    at = next(place for place, (x, y) in enumerate(zip_longest(a, b)) if x != y)
    return TextDifference(request_id, request, at, a[at : at + _SHOWN_CHARACTERS], b[at : at + _SHOWN_CHARACTERS])


def asked_ids(run: RunRecord) -> set[str]:
    """Ids of the requests whose completions were trained on, as far as they were kept."""
    return {str(row.get("request_id")) for step in run.steps for row in _completions(run.path, step["step"]) or []}


def _completions(run: Path, step: int) -> list[Row] | None:
    path = run / "completions" / f"step_{step:06d}.jsonl"
    return [row for _, row in read_jsonl(path)] if path.is_file() else None


def _of_step(a: Sequence[Row], b: Sequence[Row]) -> Row:
    """Fields of Parting; without `what` where requests, completions and verdicts are the same."""
    asked, paid = [
        [[tuple(row.get(key) for key in keys) for row in rows] for rows in (a, b)]
        for keys in (("request_id", "request", "prompt_arm"), ("verdict", "reward"))
    ]
    if asked[0] != asked[1]:
        return {"what": "requests"}
    apart = [(x, y) for x, y in zip(a, b, strict=True) if x.get("completion") != y.get("completion")]
    counts: Row = {"rollouts": (len(apart), len(a))}
    if apart:
        x, y = apart[0]
        texts = (str(one) for one in (x.get("request_id"), x.get("request"), x.get("completion"), y.get("completion")))
        return {"what": "rollouts", "text": text_difference(*texts), **counts}
    return ({"what": "verdicts"} if paid[0] != paid[1] else {}) | counts


def _beyond(a: Row, b: Row, tolerance: float) -> dict[str, tuple[float | None, float | None]]:
    """Metrics that differ, times left out; a number on one side alone is a difference."""
    times = {name for name, about in METRICS.items() if about.unit == "s"}
    pairs = {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if name not in {"step", *times}}
    return {
        name: (x, y)
        for name, (x, y) in pairs.items()
        if (x is not y if x is None or y is None else not math.isclose(x, y, rel_tol=tolerance, abs_tol=1e-12))
    }
