"""The judge card: agreement with people, kinds of error, cost and speed; kept by judge id, so that a report prints it.

The yardstick are responses that people labelled as refused or as harmful. The card of the offline judge comes with the
package, since its labels need not be where a report is written.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import Usage
from cada_trl.judging.judge import Judge, Judged, judge_all
from cada_trl.records import Verdict, read_jsonl
from cada_trl.statistics.paired import Confusion
from cada_trl.statistics.resampled import auc_and_j
from cada_trl.storage.digest import sha256
from cada_trl.storage.files import read_json, replace_json
from cada_trl.storage.reading import read_csv

Label = Literal["refused", "harmful"]
Pair = tuple[str, str]  # request, response
Card = dict[str, Any]
_Completion = tuple[Pair, str, str]  # one of XSTest's, the first character of its final_label, the kind of request

CARDS = Path("runs/judge_cards")  # below the default runs_dir
EXPECTED = (
    "xstest/model_completions/xstest_v2_completions_*.csv (github.com/paul-rottger/xstest) and "
    "jailbreakbench/judge_comparison.jsonl (hf.co/datasets/JailbreakBench/JBB-Behaviors, judge_comparison)"
)
_COMPLETIONS = "xstest_v2_completions_"
# XSTest's partial refusals count as refusals; the two other readings are reported beside it.
_PARTIAL = {"refused": True, "left out": None, "complied": False}
_POOLED = "xstest pooled, partial"
_JAILBROKEN = "jailbreakbench, jailbroken"
_WHAT = {f"{_POOLED} refused": "XSTest's completions", _JAILBROKEN: "JailbreakBench's responses"}


@dataclass(frozen=True)
class LabelSet:
    """Pairs of (request, response) and whether people say yes to the label; groups: the kind of each pair, or empty."""

    name: str
    label: Label
    pairs: list[Pair]
    people: list[bool]
    groups: list[str] = field(default_factory=list)


def read_label_sets(folder: Path) -> list[LabelSet]:
    """XSTest by model, pooled, pooled under the two other readings of a partial refusal; JailbreakBench's comparison.

    Not jailbroken is a label of refusal only where the request was harmful, and there a text that neither refuses nor
    helps is not jailbroken either. Errors: UserError when no expected file is there or a row is malformed.
    """
    completions = sorted((folder / "xstest" / "model_completions").glob(f"{_COMPLETIONS}*.csv"))
    comparison = folder / "jailbreakbench" / "judge_comparison.jsonl"
    if not completions and not comparison.is_file():
        raise UserError(f"no human labels under {folder}; expected {EXPECTED}")
    by_model = {file.stem.removeprefix(_COMPLETIONS): _read_xstest(file) for file in completions}
    sets = [_xstest_set(f"xstest {model}", rows, "refused") for model, rows in by_model.items()]
    pooled = [row for rows in by_model.values() for row in rows]
    if pooled:
        sets += [_xstest_set(f"{_POOLED} {reading}", pooled, reading) for reading in _PARTIAL]
    return [*sets, *_read_comparison(comparison)] if comparison.is_file() else sets


def labels_hash(sets: Sequence[LabelSet]) -> str:
    """First 8 hex digits of the SHA-256 of all pairs and labels."""
    rows = [[labelled.name, labelled.label, labelled.pairs, labelled.people, labelled.groups] for labelled in sets]
    return sha256(json.dumps(rows))[:8]


def card(judge: Judge, sets: Sequence[LabelSet]) -> Card:
    """Judge every different pair of the sets once and compare; plain values, ready for JSON.

    sets: a row per set and label that this judge gives. groups: the same within each kind of request. order: how
    harmful_score orders people's labels of harm. cost: questions that were really asked and their tokens (null where
    the endpoint left them unsaid); speed is null where everything came from the cache.
    Errors: UserError as Judge.judge.
    """
    pairs = list(dict.fromkeys(pair for labelled in sets for pair in labelled.pairs))
    before, started = _usage(judge), time.perf_counter()
    verdicts = dict(zip(pairs, judge_all(judge, pairs), strict=True))
    seconds, after = time.perf_counter() - started, _usage(judge)
    cost = {name: None if None in (n, after[name]) else after[name] - n for name, n in before.items()}
    kept = [labelled for labelled in sets if _gives_label(verdicts, labelled.label)]
    orders = [area_under_roc(labelled, verdicts) for labelled in sets if labelled.label == "harmful"]
    n_judged = cost["calls"] if _is_model(judge) else len(pairs)
    return {
        "judge": judge.id,
        "labels": labels_hash(sets),
        "sets": [_compared(labelled.name, labelled, verdicts) for labelled in kept],
        "groups": {
            f"{labelled.name} ({labelled.label})": [
                _compared(group, labelled, verdicts, group) for group in sorted(set(labelled.groups))
            ]
            for labelled in kept
            if labelled.groups
        },
        "order": [order for order in orders if order["area"] is not None],
        "cost": {"pairs": len(pairs), **cost},
        "speed": _speed(n_judged, seconds),
    }


def _speed(n_judged: int | None, seconds: float) -> dict[str, float] | None:
    """Seconds are kept as hundredths: no rate divides by less."""
    return {"seconds": round(seconds, 2), "pairs_per_s": round(n_judged / max(seconds, 0.01), 1)} if n_judged else None


def _said_of(judged: Judged, label: Label) -> bool | None:
    """The judge's own label; None: it gave none."""
    if label == "harmful":
        return judged.harmful
    return None if judged.verdict is Verdict.UNSCORED else judged.verdict is Verdict.REFUSED


def row_of(name: str, label: Label, answers: Sequence[bool | None], people: Sequence[bool]) -> dict[str, Any]:
    """Answers beside people's labels as plain values for JSON; a rate of nothing is null."""
    counts = Confusion.of(answers, people)
    row: dict[str, Any] = {"name": name, "label": label, "n": counts.n, "coverage": _or_null(counts.accuracy.coverage)}
    for rate_name in ("accuracy", "precision", "recall"):
        rate = getattr(counts, rate_name)
        row |= {rate_name: _or_null(rate.value), f"{rate_name}_interval": list(rate.interval), f"{rate_name}_n": rate.n}
    row |= {"f1": _or_null(counts.f1), "kappa": _or_null(counts.kappa), "unscored": counts.n_unscored}
    return row | {count: getattr(counts, count) for count in ("true_yes", "false_yes", "false_no", "true_no")}


def area_under_roc(labelled: LabelSet, verdicts: Mapping[Pair, Judged]) -> dict[str, Any]:
    """How well harmful_score orders, free of a threshold: see auc_and_j; None where one of the two kinds is absent."""
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for pair, harmful in zip(labelled.pairs, labelled.people, strict=True):
        score = verdicts[pair].harmful_score
        if score is not None:
            kinds[harmful].append(score)
    area = auc_and_j(np.array(kinds[True]), np.array(kinds[False]))[0] if all(kinds.values()) else None
    return {"name": labelled.name, "n_harmful": len(kinds[True]), "n_other": len(kinds[False]), "area": area}


def headline(stored: Card) -> str:
    """One sentence for a report: how often the judge agrees with people, on what."""
    rows = [row for row in stored["sets"] if row["name"] in _WHAT and row["n"]]
    parts = [f"{_agreed(row)} on {row['n']} of {_WHAT[row['name']]}" for row in rows]
    parts += [f"its score orders {_WHAT[row['name']]} with an area of {row['area']:.2f}" for row in stored["order"]]
    some = any(row["n"] for row in stored["sets"])
    agreed = "; ".join(parts) or ("no overall rate, see the card" if some else "not measured on any labelled response")
    return f"Agreement of the judge {stored['judge']} with people: {agreed}."


def find_card(judge_id: str, folder: Path | None) -> Card | None:
    """The stored card of this judge: in the folder, else with the package; None where it was never measured."""
    stored = read_card(card_path(judge_id, folder)) if folder else None
    return stored or read_card(Path(__file__).parent / "assets" / f"card_{_slug(judge_id)}.json")


_FIELDS = {"judge", "labels", "sets", "groups", "order", "cost", "speed"}
_AGAIN = "delete it and run make judge-card again"


def read_card(path: Path) -> Card | None:
    """None where there is no file. Errors: UserError for a file that is no card."""
    if not path.is_file():
        return None
    stored = read_json(path, _AGAIN)
    if lacks := _FIELDS - stored.keys():
        raise UserError(f"{path} is no judge card, it lacks {', '.join(sorted(lacks))}; {_AGAIN}")
    return stored


def kept_card(judge: Judge, sets: Sequence[LabelSet], folder: Path) -> Card:
    """The judge's card on these labels: the one that is kept, or a new one, as where a model left pairs unscored.

    Errors: UserError as card and read_card, where no label was given at all, and when the folder cannot be written.
    """
    path = card_path(judge.id, folder)
    stored = read_card(path)
    if stored is not None and stored["labels"] != labels_hash(sets):
        stored = None
    if stored is None or is_asked_again(judge, stored):
        found = card(judge, sets)
        if found["sets"] and not any(row["n"] + row["unscored"] for row in found["sets"]):
            raise UserError(
                f"no label is of what the judge {judge.id} says; expected XSTest's completions, or JailbreakBench's "
                "rows of attacked requests"
            )
        if found["sets"] and not any(row["n"] for row in found["sets"]):
            raise UserError(
                f"the judge {judge.id} labelled none of {found['cost']['pairs']} pairs, so there is no card: it did "
                "not answer, or not in its form; check it, and the same command asks again"
            )
        stored = _with_cost_of(stored, found) if stored else found
        replace_json(path, stored)
    return stored


def is_asked_again(judge: Judge, stored: Card) -> bool:
    """What a model left unscored it may label the next time."""
    return _is_model(judge) and any(row["unscored"] for row in stored["sets"])


def _with_cost_of(earlier: Card, found: Card) -> Card:
    """The cache gives what was labelled earlier, so the card cost what all its calls did."""
    total, more = (Usage(*map(one["cost"].get, ("calls", "prompt_tok", "completion_tok"))) for one in (earlier, found))
    total.add(more.prompt_tok, more.completion_tok, more.calls)
    seconds = sum(one["speed"]["seconds"] for one in (earlier, found) if one["speed"])
    return found | {"cost": found["cost"] | asdict(total), "speed": _speed(total.calls, seconds)}


def card_path(judge_id: str, folder: Path) -> Path:
    return folder / f"{_slug(judge_id)}.json"


def _slug(judge_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", judge_id)


def _agreed(row: dict[str, Any]) -> str:
    low, high = row["accuracy_interval"]
    kappa = "" if row["kappa"] is None else f", kappa {row['kappa']:.2f}"
    return f"{100 * row['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]{kappa}"


def _or_null(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


def _is_model(judge: Judge) -> bool:
    """It counts what it was asked."""
    return getattr(judge, "usage", None) is not None


def _usage(judge: Judge) -> dict[str, Any]:
    """Nothing, of a judge that is no model."""
    return asdict(getattr(judge, "usage", None) or Usage())


def _gives_label(verdicts: Mapping[Pair, Judged], label: Label) -> bool:
    """One that labelled nothing at all keeps its rows of refusal, with n 0."""
    gives = any(_said_of(judged, label) is not None for judged in verdicts.values())
    return gives or (label == "refused" and not any(judged.scored for judged in verdicts.values()))


def _compared(
    name: str, labelled: LabelSet, verdicts: Mapping[Pair, Judged], group: str | None = None
) -> dict[str, Any]:
    indices = [i for i in range(len(labelled.pairs)) if group is None or labelled.groups[i] == group]
    answers = [_said_of(verdicts[labelled.pairs[i]], labelled.label) for i in indices]
    return row_of(name, labelled.label, answers, [labelled.people[i] for i in indices])


def _read_xstest(path: Path) -> list[_Completion]:
    completions = []
    for number, row in read_csv(path):
        prompt, completion, label = (row.get(column) for column in ("prompt", "completion", "final_label"))
        if not prompt or completion is None or not label or label[0] not in "123":
            raise UserError(
                f"{path}, row {number}: expected prompt, completion and a final_label that starts with 1, 2 or 3"
            )
        completions.append(((prompt, completion), label[0], row.get("type") or "no type"))
    return completions


def _xstest_set(name: str, rows: list[_Completion], reading: str) -> LabelSet:
    meaning = {"1": False, "2": True, "3": _PARTIAL[reading]}
    kept = [(pair, refused, kind) for pair, label, kind in rows if (refused := meaning[label]) is not None]
    groups = [kind for *_, kind in kept] if name == f"{_POOLED} refused" else []
    return LabelSet(name, "refused", [pair for pair, *_ in kept], [refused for _, refused, _ in kept], groups)


def _read_comparison(path: Path) -> list[LabelSet]:
    harm = LabelSet(_JAILBROKEN, "harmful", [], [])
    refusal = LabelSet("jailbreakbench, not jailbroken", "refused", [], [])
    for number, row in read_jsonl(path):
        goal, response, majority = (row.get(key) for key in ("goal", "target_response", "human_majority"))
        if not isinstance(goal, str) or not isinstance(response, str) or majority not in (0, 1):
            raise UserError(f"{path}, row {number}: expected goal, target_response and human_majority of 0 or 1")
        attacked = row.get("prompt") != goal
        harm.pairs.append((goal, response))
        harm.people.append(majority == 1)
        harm.groups.append("attacked harmful request" if attacked else "harmless request")
        if attacked:
            refusal.pairs.append((goal, response))
            refusal.people.append(majority != 1)
    return [harm, refusal]
