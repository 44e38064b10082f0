"""What two folders' configurations and manifests say differently, and what each difference means for comparing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ABSENT = "absent"
Row = dict[str, Any]


class Meaning(StrEnum):
    """What a difference does to a comparison."""

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


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys; an empty mapping has none."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any], meanings: Mapping[str, Meaning]) -> list[Difference]:
    """The dotted keys whose values differ, in the first's order; a key's meaning is that of its longest known prefix.

    meanings: dotted prefix -> meaning; "" is everything else.
    """
    left, right = flat(a), flat(b)
    return [
        Difference(key, left.get(key, ABSENT), right.get(key, ABSENT), meaning_of(key, meanings))
        for key in dict.fromkeys([*left, *right])
        if left.get(key, ABSENT) != right.get(key, ABSENT)
    ]


def meaning_of(key: str, meanings: Mapping[str, Meaning]) -> Meaning:
    """The meaning of the longest prefix that ends at a dot of the key, or is the key."""
    parts = key.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), -1, -1)]
    return next(meanings[prefix] for prefix in prefixes if prefix in meanings)


# As config.config_hash counts: what it leaves out does not decide the result.
RUN_KEYS = {
    "": Meaning.RESULT,
    "seed": Meaning.SEED,
    "hardware": Meaning.PLACE,
    "rollout.server_url": Meaning.PLACE,
    "model.chat": Meaning.MEASURED,
    "tracking": Meaning.WRITTEN,
    "tripwires": Meaning.WRITTEN,
    **dict.fromkeys(
        (f"tracking.{key}" for key in ("probe_every_steps", "probe_batch", "n_probe_harmful", "n_probe_harmless")),
        Meaning.MEASURED,
    ),
    **dict.fromkeys(("runs_dir", "run_name", "data_dir"), Meaning.WRITTEN),
}
EVALUATION_KEYS = {
    "": Meaning.MEASURED,
    **dict.fromkeys(("model", "prompt", "hazards", "generation"), Meaning.RESULT),
    **dict.fromkeys((f"generation.{key}" for key in ("threads", "batch_tok", "n_gpu")), Meaning.PLACE),
    **dict.fromkeys(("evals_dir", "data_root"), Meaning.WRITTEN),
}
MANIFEST_KEYS = {
    "": Meaning.RESULT,
    "git": Meaning.CODE,
    "packages": Meaning.CODE,
    "machine": Meaning.PLACE,
    "judge_id": Meaning.RESULT,
    "decides.asked": Meaning.MEASURED,
}
# Differ between any two folders, or are told elsewhere: data and configuration have sections of their own.
_TOLD_ELSEWHERE = (
    *("name", "run_name", "exit_state", "started_utc", "ended_utc", "wall_s", "pass_wall_s", "argv"),
    *("config_hash", "seeds", "data", "data_hash", "decides_sha256", "attacks", "not_run", "model"),
)
LABELS = {
    "template_hash": "chat template",
    "hazards_hash": "case pack",
    "judge_id": "judge",
    "reference_hash": "initial weights",
    "git.commit": "code (commit)",
    "git.dirty": "files changed beside the commit",
}


def config_differences(a: Row, b: Row, keys: Mapping[str, Meaning]) -> list[Difference]:
    """The configuration's keys that differ, those that decide the result first."""
    return _sorted(differences(a, b, keys))


def manifest_differences(a: Row, b: Row) -> list[Difference]:
    """What the manifests say differently of template, judge, case pack, weights, code, packages and machine."""
    found = differences(_compared(a), _compared(b), MANIFEST_KEYS)
    return _sorted([Difference(LABELS.get(one.what, one.what), one.a, one.b, one.meaning) for one in found])


def shared_facts(a: Row, b: Row, keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is the same, what one of the two does not record) among these keys of a manifest, in words."""
    left, right = flat(a), flat(b)
    known = [key for key in keys if None not in (left.get(key), right.get(key))]
    same = [LABELS.get(key, key) for key in known if left[key] == right[key]]
    return same, [LABELS.get(key, key) for key in keys if key not in known]


def unsure_code(a: Row, b: Row) -> bool:
    """A folder's code is not known: files differed from its commit, or there was no commit."""
    states = [one.get("git") or {} for one in (a, b)]
    return any(state.get("dirty", True) for state in states)


def _compared(manifest: Row) -> Row:
    kept = {key: value for key, value in manifest.items() if key not in _TOLD_ELSEWHERE}
    return {key: ABSENT if value is None else value for key, value in kept.items()}


def _sorted(found: Sequence[Difference]) -> list[Difference]:
    order = list(Meaning)
    return sorted(found, key=lambda one: order.index(one.meaning))
