"""The card of a request set: what was measured, and where it is kept, so that the same is measured once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.models.identity import model_identity
from cada_trl.prepare import PreparedData
from cada_trl.records import Request
from cada_trl.separability.curve import CurvePoint
from cada_trl.separability.measures import Separation
from cada_trl.separability.pairs import files_digest
from cada_trl.storage.digest import content_hash, sha256
from cada_trl.storage.files import replace_json
from cada_trl.storage.json_record import JsonRecord

VERSION = 1  # raise it when the same inputs give other numbers


class PairResult(JsonRecord):
    """One pair of sets. absent: the file that was expected where there is none; nothing was measured then."""

    harmful: str
    harmless: str
    n_harmful: int
    n_harmless: int
    absent: str | None
    probe: Separation | None
    bag_of_words: Separation | None

    @property
    def name(self) -> str:
        return f"{self.harmful} | {self.harmless}"


class Card(JsonRecord):
    """layer_auc: candidate layer -> its cross-validated AUC on the training rows. curve: [] where none was asked."""

    inputs: dict[str, Any]
    request_set: str
    model: str
    n_harmful: int
    n_harmless: int
    n_twins: int
    layer: int
    n_layers: int
    layer_auc: dict[int, float]
    pairs: list[PairResult]
    curve: list[CurvePoint]

    def summary(self) -> dict[str, Any]:
        """For a run's manifest: all but the inputs and the curve."""
        values = self.to_json()
        return {name: value for name, value in values.items() if name not in {"inputs", "curve"}}


def card_inputs(config: Config, data: PreparedData) -> dict[str, Any]:
    """Everything that decides the numbers, by content. Reads the weights once. Errors: UserError as model_identity."""
    folder = config.data.benchmarks_dir
    return {
        "version": VERSION,
        "request_set": rows_digest([data.train, data.benign_train, data.twins_probe]),
        "model": {**model_identity(config.model), "dtype": config.model.dtype},
        "benchmarks": files_digest(Path(folder) if folder else None),
    }


def rows_digest(parts: Sequence[Sequence[Request]]) -> str:
    """SHA-256 of the rows' texts, of what they are and of who is whose twin."""
    rows = [[[one.text, one.harmful, one.pair] for one in part] for part in parts]
    return sha256(json.dumps(rows))


def card_file(data_dir: str, inputs: dict[str, Any]) -> Path:
    """data_dir/card-<hash8>.json."""
    return Path(data_dir) / f"card-{content_hash(inputs)}.json"


def kept_card(config: Config, data: PreparedData) -> Card | None:
    """The card of exactly this request set and model, where it was made. Without any card no weights are read.

    Errors: UserError for a file that was edited, and as card_inputs.
    """
    if not any(Path(config.data_dir).glob("card-*.json")):
        return None
    return read_card(card_file(config.data_dir, card_inputs(config, data)))


def read_card(path: Path) -> Card | None:
    """None where there is no file. Errors: UserError for a file that is no card."""
    try:
        return Card.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path} is not a card of this version; delete it and run make card again") from error


def write_card(card: Card, path: Path) -> None:
    """Whole or not at all. Errors: UserError when the folder cannot be written."""
    replace_json(path, card.to_json(), "free space or choose another data_dir")
