"""What `sweep` takes: its own settings, an ablation card, words for training and evaluation. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import (
    HELP,
    Positive,
    Section,
    check_values,
    compose_config,
    described,
    groups,
    leaf_paths,
    nearest,
)
from cada_trl.config.run_config import expand_recipes
from cada_trl.config.texts import Folder, Name
from cada_trl.errors import UserError
from cada_trl.storage.reading import read_yaml

CARD_DIR = CONF_DIR / "ablation"
_FOR_EVALUATION = "evaluate."
_LAUNCHERS = ("launcher=slurm", "launcher=slurm_array")
_FLAGS = ("--dry-run", "--retry", "--status")


class SweepConfig(Section):
    """How a sweep is run. Every field is needed; hydra_conf/sweep.yaml holds them."""

    evaluate: str  # "off" or a suite
    sweeps_dir: Folder
    sweep_name: Name | None
    jobs: Positive
    submit: Literal["here", "slurm", "slurm_array"]
    slurm_args: str | None
    cell_limit_h: Annotated[float, Field(gt=0.0)]
    max_hours: Annotated[float, Field(gt=0.0)] | None
    search: Literal["grid", "optuna"]
    n_trials: Positive
    space: list[str]


class AblationCard(Section):
    """A question and the axes that answer it; a file of hydra_conf/ablation/ has its name.

    overrides: words of a sweep, axes and fixed values. changes: the dotted keys that may differ from the default.
    metrics: names as sweep.json has them. paper: where the paper says something of it, or that it does not.
    """

    name: str
    question: str
    overrides: list[str]
    changes: list[str]
    metrics: list[str]
    expected: str
    paper: str


@dataclass(frozen=True)
class SweepRequest:
    """A command line, sorted. training: overrides of that verb, the card's first, not yet expanded or checked.

    card: its folder is no group of Hydra's, so it is no key of SweepConfig. evaluation: words of that verb without its
    model; None where nothing is evaluated.
    """

    config: SweepConfig
    card: AblationCard | None
    training: tuple[str, ...]
    evaluation: tuple[str, ...] | None
    dry_run: bool
    retry: bool
    status: bool


def read_request(argv: Sequence[str]) -> SweepRequest:
    """launcher=slurm is submit=slurm; `evaluate.judge=...` is the evaluation's judge=... Errors: UserError for an
    unknown flag, card or suite, and as compose_config for the sweep's own settings."""
    if HELP.intersection(argv):
        compose_config(SweepConfig, CONF_DIR, "sweep", argv)
    kinds: dict[str, list[str]] = {"flag": [], "card": [], "own": [], "evaluation": [], "training": []}
    for word in argv:
        kinds[_kind(word)].append(word.replace("launcher=", "submit=") if word in _LAUNCHERS else word)
    flags, own = kinds["flag"], kinds["own"]
    if unknown := sorted(set(flags) - set(_FLAGS)):
        raise UserError(f"unknown flag {unknown[0]}; {nearest(unknown[0], _FLAGS)}")
    if len(asked := sorted(set(flags))) > 1:
        raise UserError(f"{' '.join(asked)}: each asks for something else; give one of them")
    config = compose_config(SweepConfig, CONF_DIR, "sweep", own)
    suites = ["off", *groups(CONF_DIR, "evaluate")["suite"]]
    if config.evaluate not in suites:
        raise UserError(f"evaluate={config.evaluate}: no such suite; {nearest(config.evaluate, suites)}")
    evaluation = tuple(word.removeprefix(_FOR_EVALUATION) for word in kinds["evaluation"])
    for word in evaluation:
        if config.evaluate == "off":
            raise UserError(f"{_FOR_EVALUATION}{word} needs an evaluation; add evaluate=quick or evaluate=standard")
        if word.partition("=")[0] in {"model", "suite"}:
            raise UserError(f"{_FOR_EVALUATION}{word}: a sweep evaluates its own models, by the suite of evaluate=")
    cards = {word.partition("=")[2] for word in kinds["card"]}
    if len(cards) > 1:
        raise UserError(f"{' '.join(kinds['card'])}: a sweep answers one card's question; give one of them")
    card = load_card(cards.pop()) if cards else None
    training = (*(card.overrides if card else ()), *expand_recipes(kinds["training"]))
    words = None if config.evaluate == "off" else (f"suite={config.evaluate}", *evaluation)
    return SweepRequest(config, card, training, words, *(flag in flags for flag in _FLAGS))


def _kind(word: str) -> str:
    if word.startswith("--"):
        return "flag"
    if word.startswith("ablation="):
        return "card"
    if word.startswith(_FOR_EVALUATION):
        return "evaluation"
    is_own = word in _LAUNCHERS or word.partition("=")[0] in leaf_paths(SweepConfig)
    return "own" if is_own else "training"


def load_card(name: str) -> AblationCard:
    """The card of that name. Errors: UserError with the nearest name for one that is not known."""
    if name not in (names := described(CARD_DIR)):
        raise UserError(f"ablation={name}: no such card; {nearest(name, names)}")
    values = read_yaml(CARD_DIR / f"{name}.yaml")
    return check_values(AblationCard, {"name": name, **values})
