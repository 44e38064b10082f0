"""The requests that are probed: a run's held-out probes, or the embedded twins that are never trained on. No torch."""

from __future__ import annotations

from pathlib import Path

from cada_trl.data.split import pair_roles
from cada_trl.data.twins import read_twins
from cada_trl.errors import UserError
from cada_trl.evals.benchmarks import stratified
from cada_trl.evals.items import Item
from cada_trl.records import read_jsonl

BENCHMARK = "faithfulness"
_SETS = ("harmful", "held_out", "harmless")


def probe_items(source: str | None, limit: int, seed: int) -> list[Item]:
    """At most `limit` harmful items and as many harmless ones, spread over the hazards by the seed.

    source: a run folder, whose requests before training are asked, or "twins" (None: the same). Errors: UserError for
    a folder without probes and for a damaged row.
    """
    every = _twins() if source in {None, "twins"} else _of_run(Path(str(source)).expanduser())
    kinds = [[item for item in every if item.harmful is harmful] for harmful in (True, False)]
    return [item for kind in kinds for item in stratified(kind, limit, seed)]


def _twins() -> list[Item]:
    rows = read_twins().rows
    probed = pair_roles(rows, []).probe
    return [
        Item(str(row.id), BENCHMARK, row.text, row.hazard, str(row.hazard), row.harmful)
        for row in rows
        if row.pair in probed
    ]


def _of_run(folder: Path) -> list[Item]:
    path = folder / "probes" / "before.jsonl"
    if not path.is_file():
        raise UserError(f"items={folder} holds no probes/before.jsonl; expected a run folder that has probed, or twins")
    items: dict[str, Item] = {}
    for number, row in read_jsonl(path):
        if row.get("set") in _SETS:
            item = _item(row, f"{path}, row {number}")
            items.setdefault(item.id, item)
    return list(items.values())


def _item(row: dict[str, object], where: str) -> Item:
    for field, expected in {"request_id": str, "request": str, "hazard": str, "harmful": bool}.items():
        if not isinstance(row.get(field), expected):
            raise UserError(f"{where}: field '{field}' is {row.get(field)!r}; expected {expected.__name__}")
    request, hazard = str(row["request"]), str(row["hazard"])
    return Item(str(row["request_id"]), BENCHMARK, request, hazard, hazard, bool(row["harmful"]))
