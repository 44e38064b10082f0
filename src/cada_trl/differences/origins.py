"""What two folders' configurations and manifests say differently, each with its meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cada_trl.differences.difference import ABSENT, Difference, Meaning, differences, flat

Row = dict[str, Any]

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
