"""The judge card: agreement with people, kinds of error, cost and speed; kept by judge id, so that a report prints it.

The card of the offline judge comes with the package, since its labels need not be where a report is written.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from cada_trl.errors import UserError
from cada_trl.judging.agreement import agreement, area_under_roc, said_of
from cada_trl.judging.endpoint import Usage
from cada_trl.judging.judge import Judge, Judged
from cada_trl.judging.labels import JAILBROKEN, POOLED, LabelSet, labels_hash
from cada_trl.storage.files import replace_json

PAIRS_AT_ONCE = 64  # ours: a step of the progress bar

Card = dict[str, Any]


def card(judge: Judge, sets: Sequence[LabelSet]) -> Card:
    """Judge every different pair of the sets once and compare; plain values, ready for JSON.

    sets: a row a set and label that this judge gives. groups: the same within each kind of request. order: how
    harmful_score orders people's labels of harm. cost: questions that were really asked and their tokens (null where
    the endpoint left them unsaid); speed is null where everything came from the cache.
    Errors: UserError as Judge.judge.
    """
    pairs = list(dict.fromkeys(pair for one in sets for pair in one.pairs))
    before = _usage(judge)
    started = time.perf_counter()
    verdicts = _judge(judge, pairs)
    seconds = time.perf_counter() - started
    kept = [one for one in sets if _labels(verdicts, one)]
    scored = [one for one in sets if one.label == "harmful" and _scores(verdicts, one)]
    order = [area_under_roc(one, [verdicts[pair].harmful_score for pair in one.pairs]) for one in scored]
    return {
        "judge": judge.id,
        "labels": labels_hash(sets),
        "sets": [_row(verdicts, one) for one in kept],
        "groups": {f"{one.name} ({one.label})": _groups(verdicts, one) for one in kept if one.groups},
        "order": [one for one in order if one["area"] is not None],
        **_cost(before, judge, len(pairs), seconds),
    }


def headline(found: Card) -> str:
    """One sentence for a report: how often the judge agrees with people, on what."""
    rows = [row for row in found["sets"] if row["name"] in _WHAT and row["n"]]
    parts = [f"{_percent(row)} on {row['n']} of {_WHAT[row['name']]}" for row in rows]
    parts += [f"its score orders {_WHAT[one['name']]} with an area of {one['area']:.2f}" for one in found["order"]]
    said = "; ".join(parts) or "not measured on any labelled response"
    return f"Agreement of the judge {found['judge']} with people: {said}."


def find_card(judge_id: str, folder: Path | None) -> Card | None:
    """The stored card of this judge: in the folder, else with the package; None where it was never measured."""
    stored = read_card(card_path(judge_id, folder)) if folder else None
    return stored or read_card(files("cada_trl.judging") / "assets" / f"card_{slug(judge_id)}.json")


def read_card(path: Traversable) -> Card | None:
    """None where there is no file. Errors: UserError for a file that is no card."""
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path} is not a judge card; delete it and run make judge-card again") from error


def write_card(found: Card, folder: Path) -> None:
    """Write the card under its judge's id, atomically. Errors: UserError when the folder cannot be written."""
    replace_json(card_path(found["judge"], folder), found)


def card_path(judge_id: str, folder: Path) -> Path:
    """Where the card of this judge is kept."""
    return folder / f"{slug(judge_id)}.json"


def slug(judge_id: str) -> str:
    """The id as a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", judge_id)


_WHAT = {f"{POOLED} refused": "XSTest's completions", JAILBROKEN: "JailbreakBench's responses"}


def _percent(row: dict[str, Any]) -> str:
    low, high = row["accuracy_interval"]
    kappa = "" if row["kappa"] is None else f", kappa {row['kappa']:.2f}"
    return f"{100 * row['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]{kappa}"


def _judge(judge: Judge, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Judged]:
    batches = [pairs[i : i + PAIRS_AT_ONCE] for i in range(0, len(pairs), PAIRS_AT_ONCE)]
    console = Console(stderr=True)
    verdicts: dict[tuple[str, str], Judged] = {}
    for some in track(batches, description="judging", console=console, disable=not console.is_terminal):
        verdicts |= zip(some, judge.judge(some), strict=True)
    return verdicts


def _labels(verdicts: dict[tuple[str, str], Judged], one: LabelSet) -> bool:
    """This judge gives the set's label; one that labelled nothing at all keeps its rows of refusal, with n 0."""
    gives = any(said_of(judged, one.label) is not None for judged in verdicts.values())
    return gives or (one.label == "refused" and not any(judged.scored for judged in verdicts.values()))


def _scores(verdicts: dict[tuple[str, str], Judged], one: LabelSet) -> bool:
    return any(verdicts[pair].harmful_score is not None for pair in one.pairs)


def _row(verdicts: dict[tuple[str, str], Judged], one: LabelSet) -> dict[str, Any]:
    said = [said_of(verdicts[pair], one.label) for pair in one.pairs]
    return agreement(one.name, one.label, said, one.people).as_row()


def _groups(verdicts: dict[tuple[str, str], Judged], one: LabelSet) -> list[dict[str, Any]]:
    rows = []
    for group in sorted(set(one.groups)):
        indices = [i for i, name in enumerate(one.groups) if name == group]
        said = [said_of(verdicts[one.pairs[i]], one.label) for i in indices]
        rows.append(agreement(group, one.label, said, [one.people[i] for i in indices]).as_row())
    return rows


def _usage(judge: Judge) -> Usage | None:
    usage = getattr(judge, "usage", None)
    return Usage(usage.calls, usage.prompt_tok, usage.completion_tok) if usage else None


def _cost(before: Usage | None, judge: Judge, n_pairs: int, seconds: float) -> dict[str, Any]:
    after = _usage(judge)
    calls = after.calls - before.calls if after and before else 0
    n_judged = calls if after else n_pairs
    cost: dict[str, Any] = {"pairs": n_pairs, "calls": calls, "prompt_tok": 0, "completion_tok": 0}
    if after and before:
        for name in ("prompt_tok", "completion_tok"):
            now, then = getattr(after, name), getattr(before, name)
            cost[name] = None if now is None or then is None else now - then
    speed = {"seconds": round(seconds, 2), "pairs_per_s": round(n_judged / seconds, 1)} if n_judged else None
    return {"cost": cost, "speed": speed}
