"""The sources of requests beside the twins: BeaverTails, and the user's own rows, which name their hazard.

BeaverTails (Ji et al. 2023): the unsafe rows' prompts, from a local JSONL or from the hub. Paper, Data: split
30k_train, is_safe == False. The licence is CC BY-NC 4.0, so no row of it is shipped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from cada_trl.config import DataConfig
from cada_trl.config.loading import nearest
from cada_trl.data.rows import Row, Source, check_fields
from cada_trl.errors import UserError, first_line
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import Problems

CATEGORIES = frozenset(
    {
        "animal_abuse",
        "child_abuse",
        "controversial_topics,politics",
        "discrimination,stereotype,injustice",
        "drug_abuse,weapons,banned_substance",
        "financial_crime,property_crime,theft",
        "hate_speech,offensive_language",
        "misinformation_regarding_ethics,laws_and_safety",
        "non_violent_unethical_behavior",
        "privacy_violation",
        "self_harm",
        "sexually_explicit,adult_content",
        "terrorism,organized_crime",
        "violence,aiding_and_abetting,incitement",
    }
)


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
            reason = "safe" if safe else "child_abuse" if "child_abuse" in labels else None
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
    unknown = [name for name in found if not isinstance(name, str) or name not in CATEGORIES]
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
            kept.append(Row(values["text"].strip(), where, f"jsonl:{path.stem}", values["harmful"], hazard, id=row_id))
    problems.end()
    origin = {"file": path.name, "sha256": file_sha256(path), "dataset": "jsonl", "licence": data.licence}
    return Source(kept, {}, origin)
