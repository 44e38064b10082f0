"""The sources of requests: twins, BeaverTails, and the user's own rows, which name their hazard.

Twins: pairs of a harmful and a harmless request in much the same words, so that words alone do not tell them apart. The
embedded pairs were written for this project at the level of a policy and labelled twice; the user's own have the same
fields: pair, text, harmful, hazard, form, kind and, where there is one, second_label.

BeaverTails (Ji et al. 2023): the unsafe rows' prompts, from a local JSONL or from the hub. Paper, Data: split
30k_train, is_safe == False. The licence is CC BY-NC 4.0, so no row of it is shipped.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from cada_trl.config import DataConfig
from cada_trl.config.loading import nearest
from cada_trl.data.classify import load_lexicon
from cada_trl.data.likeness import normalise
from cada_trl.data.rows import Row, Source
from cada_trl.errors import UserError, first_line
from cada_trl.hazards.pack import SAFE, TWINS, UNCLEAR
from cada_trl.records import read_jsonl
from cada_trl.statistics.paired import agreement
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import Problems, check_fields

FIELDS = {"pair": str, "text": str, "harmful": bool, "hazard": str, "form": str, "kind": str}
FORMS = ("question", "instruction")
HARMLESS_ONLY = "child_sexual_exploitation"
CHILD_ABUSE = "child_abuse"  # the one category of BeaverTails that the lexicon has no prior for
_Numbered = tuple[str, dict[str, Any]]  # "file, row 12", the row


def local_beavertails(data_root: str) -> str:
    """The rows below data_root: the paper's split, as cada_trl.data.fetch makes it, or else the extract of 330k."""
    places = [f"{data_root}/beavertails/{name}.jsonl" for name in ("30k_train", "330k_unsafe_prompts")]
    return next((place for place in places if Path(place).expanduser().is_file()), places[0])


def read_beavertails(data: DataConfig) -> Source:
    """Unsafe prompts with their labels; rows labelled child_abuse are dropped and counted (ours: never learned on).

    Errors: UserError for a missing file, malformed rows (with their numbers) or a hub that cannot be reached.
    """
    problems = Problems()
    rows: Iterable[tuple[int, dict[str, Any]]]
    if data.file is not None:
        path = Path(data.file)
        place, name, rows = str(path), path.stem, read_jsonl(path, problems=problems)
        origin: dict[str, str | None] = {"file": path.name, "sha256": file_sha256(path)}
    else:
        hub_rows, commit = _hub_rows(data)
        place, name, rows = str(data.hub_id), str(data.hub_split), enumerate(hub_rows, start=1)
        origin = {"hub_id": data.hub_id, "split": data.hub_split, "revision": commit}
    kept, dropped = [], Counter[str]()
    for number, values in rows:
        with problems.of(where := f"{place}, row {number}"):
            labels, text = _labels(values), values.get("prompt")
            safe = values.get("is_safe", False)  # absent means a file of unsafe rows only
            if not isinstance(safe, bool):
                raise UserError(f"field 'is_safe' is {safe!r:.60}; expected true or false")
            if not isinstance(text, str):
                raise UserError(f"field 'prompt' is {text!r:.60}; expected a string")
            row = Row(text.strip(), where, f"beavertails:{name}", labels=labels)
            reason = "safe" if safe else CHILD_ABUSE if CHILD_ABUSE in labels else None
            if reason is None:
                kept.append(row)
            else:
                dropped[reason] += 1
    problems.end()
    origin = {"dataset": "beavertails", **origin, "licence": data.licence}
    return Source(kept, {"harmful": dict(dropped)} if dropped else {}, origin)


def _labels(values: dict[str, Any]) -> tuple[str, ...]:
    """A list of names, or the hub's dict of name -> bool."""
    found = values.get("categories", values.get("category"))
    if isinstance(found, dict) and all(isinstance(flag, bool) for flag in found.values()):
        found = [name for name, flag in found.items() if flag]
    if not isinstance(found, list):
        raise UserError(f"field 'categories' is {found!r:.60}; expected a list of names or a dict of booleans")
    known = {*load_lexicon().priors, CHILD_ABUSE}
    unknown = [name for name in found if not isinstance(name, str) or name not in known]
    if unknown:
        raise UserError(f"unknown category {unknown[0]!r:.60}; expected BeaverTails' 14 names")
    return tuple(sorted(found))


def ask_hub_once() -> None:
    """Where the hub cannot be reached its cache is all there is; the client would ask it six times, in 25 s."""
    import datasets.config
    import httpx
    from huggingface_hub import constants, get_session

    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT)
        except httpx.TransportError:
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True


def _hub_rows(data: DataConfig) -> tuple[Iterable[dict[str, Any]], str | None]:
    """The split's rows without responses, and the commit they come from."""
    from datasets import load_dataset
    from huggingface_hub import HfApi

    advice = "give a local copy with file=<JSONL>, or take the embedded set with data=twins"
    ask_hub_once()
    try:
        table = load_dataset(str(data.hub_id), split=data.hub_split, revision=data.hub_revision)
    except Exception as error:  # the hub's client raises many unrelated types for "not reachable"
        raise UserError(f"cannot load {data.hub_id}, split {data.hub_split}: {first_line(error)}; {advice}") from error
    try:
        commit = HfApi().dataset_info(str(data.hub_id), revision=data.hub_revision).sha
    except Exception:  # rows came from the local cache: the named revision is all that is known
        commit = data.hub_revision
    return table.remove_columns([name for name in table.column_names if name == "response"]), commit


def read_own_rows(data: DataConfig, hazards: Collection[str]) -> Source:
    """The user's rows {"text", "hazard", "harmful"}.

    Errors: UserError for a missing file, and with every row that has a wrong field or a hazard that the pack lacks.
    """
    if data.file is None:
        raise UserError('data=jsonl needs file=<JSONL with {"text", "hazard", "harmful"} a line>')
    path, kept, ids, problems = Path(data.file), [], set[str](), Problems()
    for number, values in read_jsonl(path, problems=problems):
        with problems.of(where := f"{path}, row {number}"):
            check_fields(values, {"text": str, "hazard": str, "harmful": bool}, where)
            row_id, hazard = values.get("id"), values["hazard"]
            if row_id is not None and not isinstance(row_id, str):
                raise UserError(f"field 'id' is {row_id!r:.60}; expected a string or none")
            if row_id in ids:
                raise UserError(f"id {row_id!r:.60} stands twice; give each row its own")
            if row_id is not None:
                ids.add(row_id)
            if hazard not in hazards:
                raise UserError(f"hazard {hazard!r:.60} is not in the pack; {nearest(hazard, hazards)}")
            if (pair := values.get("pair")) is not None:  # unread, one row would train while its twin is the probe
                advice = f"take data=twins file={path}, which keeps pairs together, or take 'pair' out of the rows"
                raise UserError(f"field 'pair' is {pair!r:.60}; data=jsonl has no pairs: {advice}")
            kept.append(Row(values["text"].strip(), where, f"jsonl:{path.stem}", values["harmful"], hazard, id=row_id))
    problems.end()
    origin = {"file": path.name, "sha256": file_sha256(path), "dataset": "jsonl", "licence": data.licence}
    return Source(kept, {}, origin)


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
    n_dropped = Counter("harmful" if row.harmful else "harmless" for row in rows if row.pair in disputed)
    origin = {
        "dataset": "twins",
        "file": path.name,
        "sha256": file_sha256(path),
        "licence": licence,
        "n_pairs": len({row.pair for row in rows}),
        "agreement": agreement([first for _, first, _ in twice], [second for *_, second in twice]) if twice else None,
    }
    kept = [row for row in rows if row.pair not in disputed]
    return Source(kept, {name: {"labels_disagree": n} for name, n in n_dropped.items()}, origin)


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
