"""Twins: pairs of a harmful and a harmless request in much the same words, so that words alone do not tell them apart.

The embedded pairs were written for this project at the level of a policy and labelled twice; the user's own have the
same fields: pair, text, harmful, hazard, form, kind and, where there is one, second_label.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cada_trl.config.loading import nearest
from cada_trl.data.likeness import normalise
from cada_trl.data.rows import Row, Source, check_fields
from cada_trl.errors import UserError
from cada_trl.records import read_jsonl
from cada_trl.statistics.paired import agreement
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import Problems

TWINS = Path(__file__).parent / "assets" / "twins.jsonl"
FIELDS = {"pair": str, "text": str, "harmful": bool, "hazard": str, "form": str, "kind": str}
FORMS = ("question", "instruction")
SAFE, UNCLEAR = "safe", "unclear"
HARMLESS_ONLY = "child_sexual_exploitation"

_Numbered = tuple[str, dict[str, Any]]  # "file, row 12", the row


def read_twins(path: Path = TWINS, hazards: Collection[str] | None = None, licence: str = "Apache-2.0") -> Source:
    """The pairs of a file whose two labels agree on harmful or not; the others are dropped whole and counted.

    hazards: the ids that a row may name; None for the embedded file, whose hazards may be more than a user's pack has.
    Errors: UserError with every row that has a wrong field; where none has, with every broken pair and every text that
    stands twice.
    """
    problems, rows, source = Problems(), list[Row](), "twins" if path == TWINS else f"twins:{path.stem}"
    numbered = [(f"{path}, row {number}", values) for number, values in read_jsonl(path, problems=problems)]
    for where, values in numbered:
        with problems.of(where):
            check_fields(values, FIELDS, where, f" (twins have {', '.join(FIELDS)}; another file needs its own data=)")
            _check_row(values, hazards)
            rows.append(_row(where, values, source))
    problems.end()
    if not numbered:
        raise UserError(f"{path} holds no pairs; expected rows with {', '.join(FIELDS)} a line")
    _check_pairs(numbered, problems)
    _check_texts(numbered, problems)
    problems.end()
    # harmful or not by both labels, of the rows that have two, whatever is dropped later
    twice = [
        (row["pair"], row["harmful"], _second_says_harmful(row))
        for _, row in numbered
        if row.get("second_label") is not None
    ]
    disputed = {pair for pair, first, second in twice if first is not second}
    dropped = {name: Counter[str]() for name in ("harmful", "harmless")}
    for row in rows:
        if row.pair in disputed:
            dropped["harmful" if row.harmful else "harmless"]["labels_disagree"] += 1
    origin = {
        "dataset": "twins",
        "file": path.name,
        "sha256": file_sha256(path),
        "licence": licence,
        "n_pairs": len({row.pair for row in rows}),
        "agreement": agreement([first for _, first, _ in twice], [second for *_, second in twice]) if twice else None,
    }
    kept = [row for row in rows if row.pair not in disputed]
    return Source(kept, {name: dict(counts) for name, counts in dropped.items() if counts}, origin)


def _row(where: str, values: dict[str, Any], source: str) -> Row:
    own_id = f"{values['pair']}-{'harmful' if values['harmful'] else 'harmless'}"
    text, hazard = values["text"].strip(), values["hazard"]
    return Row(text, where, source, values["harmful"], hazard, id=own_id, pair=values["pair"])


def _check_row(values: dict[str, Any], hazards: Collection[str] | None) -> None:
    if values["form"] not in FORMS:
        raise UserError(f"form {values['form']!r:.60}; expected {' or '.join(FORMS)}")
    if hazards is not None and values["hazard"] not in hazards:
        raise UserError(f"hazard {values['hazard']!r:.60} is not in the pack; {nearest(values['hazard'], hazards)}")
    if values["harmful"] and values["hazard"] == HARMLESS_ONLY:
        raise UserError(
            f"a harmful row of {HARMLESS_ONLY}; expected harmless rows only; the harmful partner comes from "
            "another hazard"
        )
    second = values.get("second_label")
    known = None if hazards is None else {*hazards, SAFE, UNCLEAR}
    if second is not None and (not isinstance(second, str) or (known is not None and second not in known)):
        raise UserError(
            f"second_label {second!r:.60}; expected a hazard of the pack, {SAFE} or {UNCLEAR}, or no such field"
        )


def _check_pairs(numbered: list[_Numbered], problems: Problems) -> None:
    pairs: defaultdict[str, list[_Numbered]] = defaultdict(list)
    for where, values in numbered:
        pairs[values["pair"]].append((where, values))
    for pair, rows in pairs.items():
        if len(rows) < 2:
            problems.add(rows[0][0], f"pair {pair!r:.60} has no second row; expected one harmful and one harmless row")
            continue
        for where, _ in rows[2:]:
            problems.add(where, f"a third row of pair {pair!r:.60}; expected one harmful and one harmless row")
        (other_where, other), (where, values) = rows[:2]
        if values["harmful"] == other["harmful"]:
            said = f"harmful is {values['harmful']} as in {other_where}; pair {pair!r:.60} needs one of each"
            problems.add(where, said)
        elif values["form"] != other["form"]:
            said = f"form {values['form']!r}, but {other['form']!r} in {other_where}; the rows of pair {pair!r:.60} "
            problems.add(where, f"{said}need the same, or the form tells them apart")


def _check_texts(numbered: list[_Numbered], problems: Problems) -> None:
    seen: dict[str, str] = {}
    for where, values in numbered:
        first = seen.setdefault(normalise(values["text"]), where)
        if first != where:
            problems.add(where, f"the same text as {first} (case, punctuation and spaces aside); keep one of them")


def _second_says_harmful(values: dict[str, Any]) -> bool:
    """A text that is unclear to its second reader agrees with neither label."""
    return not values["harmful"] if values["second_label"] == UNCLEAR else values["second_label"] != SAFE
