"""Ablation cards: a question, the axes that answer it, and what it may change. hydra_conf/ablation/. No torch."""

from __future__ import annotations

import yaml

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import Section, check_values, nearest
from cada_trl.errors import UserError

CARD_DIR = CONF_DIR / "ablation"


class AblationCard(Section):
    """overrides: words of a sweep, axes and fixed values. changes: the dotted keys that may differ from the default.

    metrics: names as sweep.json has them. paper: where the paper says something of it, or that it does not.
    """

    question: str
    overrides: list[str]
    changes: list[str]
    metrics: list[str]
    expected: str
    paper: str


def card_names() -> list[str]:
    """The cards there are."""
    return sorted(path.stem for path in CARD_DIR.glob("*.yaml"))


def load_card(name: str) -> AblationCard:
    """The card of that name. Errors: UserError with the nearest name for one that is not there."""
    if name not in card_names():
        raise UserError(f"ablation={name}: no such card; {nearest(name, card_names())}")
    return check_values(AblationCard, yaml.safe_load((CARD_DIR / f"{name}.yaml").read_text(encoding="utf-8")))
