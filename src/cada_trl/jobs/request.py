"""What `sweep` takes: its own settings, an ablation card, words for training and evaluation. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import yaml
from pydantic import Field

from cada_trl.config import CONF_DIR, RECIPES_DIR
from cada_trl.config.loading import HELP, Positive, Section, check_values, compose_config, groups, leaf_paths, nearest
from cada_trl.config.recipes import expand_recipes
from cada_trl.config.texts import Folder, Name
from cada_trl.errors import UserError

CARD_DIR = CONF_DIR / "ablation"
_FOR_EVALUATION = "evaluate."
_CARD = "ablation="
_FLAGS = ("--dry-run", "--retry")
_LAUNCHERS = {"launcher=slurm": "submit=slurm", "launcher=slurm_array": "submit=slurm_array"}


class SweepConfig(Section):
    """How a sweep is run. Every field is needed; hydra_conf/sweep.yaml holds them."""

    evaluate: str  # "off" or a suite
    sweeps_dir: Folder
    sweep_name: Name | None
    jobs: Positive
    submit: Literal["here", "slurm", "slurm_array"]
    slurm_args: str | None
    cell_limit_h: Annotated[float, Field(gt=0.0)]
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
    """A command line, sorted. training and evaluation: overrides of those verbs, not yet expanded or checked.

    card: its folder is no group of Hydra's, so it is no key of SweepConfig. training: the card's words come first.
    evaluation: without the suite and the prefix `evaluate.`.
    """

    config: SweepConfig
    card: AblationCard | None
    training: tuple[str, ...]
    evaluation: tuple[str, ...]
    dry_run: bool
    retry: bool

    @property
    def evaluates_with(self) -> tuple[str, ...] | None:
        """Words of the evaluation without its model; None where nothing is evaluated."""
        return None if self.config.evaluate == "off" else (f"suite={self.config.evaluate}", *self.evaluation)


def read_request(argv: Sequence[str]) -> SweepRequest:
    """Sort a command line's words. launcher=slurm is submit=slurm; `evaluate.judge=...` is the evaluation's judge=...

    Errors: UserError for an unknown flag or suite, and as compose_config for the sweep's own settings.
    """
    if HELP.intersection(argv):
        compose_config(SweepConfig, CONF_DIR, "sweep", argv)
    flags = [word for word in argv if word.startswith("--")]
    if unknown := sorted(set(flags) - set(_FLAGS)):
        raise UserError(f"unknown flag {unknown[0]}; {nearest(unknown[0], _FLAGS)}")
    words = [_LAUNCHERS.get(word, word) for word in argv if word not in flags]
    cards = [word.partition("=")[2] for word in words if word.startswith(_CARD)]
    words = [word for word in words if not word.startswith(_CARD)]
    own = [word for word in words if word.partition("=")[0] in leaf_paths(SweepConfig)]
    evaluation = [word.removeprefix(_FOR_EVALUATION) for word in words if word.startswith(_FOR_EVALUATION)]
    training = [word for word in words if word not in own and not word.startswith(_FOR_EVALUATION)]
    training = expand_recipes(training, RECIPES_DIR)
    config = compose_config(SweepConfig, CONF_DIR, "sweep", own)
    suites = ["off", *groups(CONF_DIR, "evaluate")["suite"]]
    if config.evaluate not in suites:
        raise UserError(f"evaluate={config.evaluate}: no such suite; {nearest(config.evaluate, suites)}")
    if evaluation and config.evaluate == "off":
        raise UserError(
            f"{_FOR_EVALUATION}{evaluation[0]} needs an evaluation; add evaluate=quick or evaluate=standard"
        )
    if of_model := [word for word in evaluation if word.partition("=")[0] in {"model", "suite"}]:
        raise UserError(f"{_FOR_EVALUATION}{of_model[0]}: a sweep evaluates its own models, by the suite of evaluate=")
    card = load_card(cards[-1]) if cards and cards[-1] else None
    training = [*(card.overrides if card else ()), *training]
    return SweepRequest(config, card, tuple(training), tuple(evaluation), "--dry-run" in flags, "--retry" in flags)


def card_names() -> list[str]:
    """The cards that are known."""
    return sorted(path.stem for path in CARD_DIR.glob("*.yaml"))


def load_card(name: str) -> AblationCard:
    """The card of that name. Errors: UserError with the nearest name for one that is not known."""
    if name not in card_names():
        raise UserError(f"ablation={name}: no such card; {nearest(name, card_names())}")
    values = yaml.safe_load((CARD_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
    return check_values(AblationCard, {"name": name, **values})
