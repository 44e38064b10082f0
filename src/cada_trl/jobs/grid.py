"""What `sweep` takes: its own settings, an ablation card, words for training and evaluation; words with axes -> cells.

Hydra's parser expands the axes, and every cell is composed and checked before one is started. No torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from cada_trl.config import CONF_DIR, Config, config_hash, unread_words
from cada_trl.config.keys import unread_keys
from cada_trl.config.loading import (
    HELP,
    Positive,
    Section,
    as_override,
    check_values,
    compose_config,
    described,
    flat,
    groups,
    is_text_list,
    leaf_paths,
    nearest,
    override_of,
)
from cada_trl.config.run_config import expand_recipes
from cada_trl.config.texts import Folder, Name
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import WHICH_MODEL
from cada_trl.jobs.job import Call, SweepJob, asking, run_folder, training
from cada_trl.storage.digest import content_hash
from cada_trl.storage.reading import read_yaml

CARD_DIR = CONF_DIR / "ablation"
_FOR_EVALUATION = "evaluate."
_STANDS_FOR_OTHERS = ("recipe=", "policy=")
_LAUNCHERS = ("launcher=slurm", "launcher=slurm_array")
_FLAGS = ("--dry-run", "--retry", "--status")
MAX_CELLS = 1000  # ours: composing that many takes minutes, and training them weeks


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
    """A command line, sorted. training: overrides of that verb, as _in_order, their axes not yet expanded or checked.
    typed: those of them that are not of a recipe or policy.

    card: its folder is no group of Hydra's, so it is no key of SweepConfig. evaluation: words of that verb without its
    model; None where nothing is evaluated.
    """

    config: SweepConfig
    card: AblationCard | None
    training: tuple[str, ...]
    typed: tuple[str, ...]
    evaluation: tuple[str, ...] | None
    flag: str | None  # of _FLAGS


def read_request(argv: Sequence[str]) -> SweepRequest:
    """launcher=slurm is submit=slurm; `evaluate.judge=...` is the evaluation's judge=... Errors: UserError for an
    unknown flag, card or suite, and as compose_config for the sweep's own settings."""
    if HELP.intersection(argv):
        compose_config(SweepConfig, CONF_DIR, "sweep", argv)
    kinds: dict[str, list[str]] = {"flag": [], "card": [], "own": [], "evaluation": [], "training": []}
    for word in argv:
        kinds[_kind(word)].append(word.replace("launcher=", "submit=") if word in _LAUNCHERS else word)
    flags = sorted(set(kinds["flag"]))
    if unknown := [flag for flag in flags if flag not in _FLAGS]:
        raise UserError(f"unknown flag {unknown[0]}; {nearest(unknown[0], _FLAGS)}")
    if len(flags) > 1:
        raise UserError(f"{' '.join(flags)}: each asks for something else; give one of them")
    config = compose_config(SweepConfig, CONF_DIR, "sweep", kinds["own"])
    suites = ["off", *groups(CONF_DIR, "evaluate")["suite"]]
    if config.evaluate not in suites:
        raise UserError(f"evaluate={config.evaluate}: no such suite; {nearest(config.evaluate, suites)}")
    evaluation = tuple(word.removeprefix(_FOR_EVALUATION) for word in kinds["evaluation"])
    for word in evaluation:
        if config.evaluate == "off":
            raise UserError(f"{_FOR_EVALUATION}{word} needs an evaluation; add evaluate=quick or evaluate=standard")
        if word.partition("=")[0].removeprefix("model.") in {"model", "suite", "revision", *WHICH_MODEL}:
            raise UserError(
                f"{_FOR_EVALUATION}{word}: a sweep evaluates its own models, by the suite of evaluate=; leave it out"
            )
        if word.startswith("shard="):
            raise UserError(f"{_FOR_EVALUATION}{word}: a part has no scores, and no cell would be done; leave it out")
    cards = {word.partition("=")[2] for word in kinds["card"]}
    if len(cards) > 1:
        raise UserError(f"{' '.join(kinds['card'])}: a sweep answers one card's question; give one of them")
    card = load_card(cards.pop()) if cards else None
    typed = _in_order(card.overrides if card else (), kinds["training"])
    suite = None if config.evaluate == "off" else (f"suite={config.evaluate}", *evaluation)
    return SweepRequest(config, card, tuple(expand_recipes(typed)), typed, suite, next(iter(flags), None))


def _in_order(of_card: Sequence[str], words: Sequence[str]) -> tuple[str, ...]:
    """A card's words before the typed ones, and both the card's and each axis behind the last recipe or policy, whose
    words would take their place and leave one cell of many."""
    n = max((place for place, word in enumerate(words, start=1) if word.startswith(_STANDS_FOR_OTHERS)), default=0)
    plain = [word for word in last_of_each_key(words[:n]) if not word.startswith(_STANDS_FOR_OTHERS)]
    axes = [word for word in plain if (override := parsed(word)) is not None and override.is_sweep_override()]
    return (*(word for word in words[:n] if word not in axes), *of_card, *axes, *words[n:])


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


@dataclass(frozen=True, kw_only=True)
class Cell(SweepJob):
    """One training, and its evaluation. axes: what differs but the seed, as resolved. initial: where anything is
    evaluated, the evaluation of the model that the cell starts from, one job for all cells of that model."""

    axes: dict[str, Any]
    initial: SweepJob | None

    @property
    def words(self) -> tuple[str, ...]:
        return self.calls[0].words


def make_grid(
    words: Sequence[str],
    evaluation: tuple[str, ...] | None = None,
    axes: Sequence[str] = (),
    typed: Sequence[str] | None = None,
) -> list[Cell]:
    """The cells in the order of their words, the last axis fastest; one that stands twice is one. evaluation: words
    without the model. axes: keys that are axes even with one value. typed: words whose keys must be read by some cell;
    None: all. Errors: UserError for a word that cannot be read, a cell that does not compose or check (nothing has
    started then), and an axis that does not change the result."""
    axis_values = [values_of(word) for word in last_of_each_key(words)]
    _check_few(math.prod(map(len, axis_values)), "these axes")
    listed = list(itertools.product(*axis_values))
    known = [_key(f"{axis}=") for axis in axes]
    values: dict[str, set[str]] = {}
    for word in itertools.chain.from_iterable(listed):
        values.setdefault(_key(word), set()).add(word)
    varying = [key for key in values if len(values[key]) > 1 or key in known]
    cells: dict[str, Cell] = {}
    why_unread: dict[str, str] = {}
    ignored: list[set[str]] = []  # by each cell: what it does not read, and axes that are null there
    for chosen in listed:
        cell, of_cell = _cell(chosen, varying, evaluation)
        why_unread = {_key(word): f"{word}: {why}" for word, why in of_cell.items()} | why_unread
        nulls = {key for key in varying if cell.axes.get(key.rpartition(".")[2], key) is None}
        ignored.append(nulls.union(map(_key, of_cell)))
        twin = cells.setdefault(cell.id, cell)
        if twin.config != cell.config:
            raise UserError(
                f"{_varied(twin.words, varying)} and {_varied(cell.words, varying)} are the same run: they differ in "
                "hardware, tracking or folders alone, which its name leaves out; give one value"
            )
    must_be_read = {_key(word) for word in (words if typed is None else typed)}
    for key in must_be_read.intersection(why_unread, *ignored):
        raise UserError(f"{why_unread[key]} (no cell was started)")
    return list(cells.values())


def last_of_each_key(words: Sequence[str]) -> list[str]:
    """The words without those that a later one of the same key replaces; `algo.lr` and `lr` are the same key."""
    return list({_key(word): word for word in words}.values())


def values_of(word: str) -> list[str]:
    """The word once for each value of its axis, or as it is. Errors: UserError as parsed, and for an interval."""
    override = parsed(word)
    if override is None or not override.is_sweep_override():
        return [word]
    key = word.partition("=")[0]
    if override.is_interval_sweep():
        raise UserError(f"{word}: an interval has no cells of its own; list values, or search it with search=optuna")
    if hasattr(override.value(), "filter"):  # glob(c*): among the group's choices
        choices = groups(CONF_DIR, "config")
        if key not in choices:
            raise UserError(f"{word}: glob() takes a group ({', '.join(choices)})")
        values = override.value().filter(choices[key])
        expected = f"expected a pattern of {', '.join(choices[key])}"
    else:
        if override.is_range_sweep():
            span = override.value()
            if not span.step:
                raise UserError(f"{word}: a step of 0 never ends; expected one as in range(0,10,2)")
            _check_few(max(0, math.ceil((span.stop - span.start) / span.step)), word)
        values, expected = list(override.sweep_string_iterator()), "expected values, as in seed=0,1 or seed=range(0,3)"
    if not values:
        raise UserError(f"{word} has no value; {expected}")
    return [f"{key}={value}" for value in values]


def _check_few(n_cells: int, what: str) -> None:
    if n_cells > MAX_CELLS:
        raise UserError(f"{what}: {n_cells} cells, a sweep has at most {MAX_CELLS}; give fewer values")


def parsed(word: str) -> Any:
    """Hydra's override; None for what it does not read: no `key=`, or a list of texts. Errors: UserError."""
    key, sign, value = word.partition("=")
    if not sign or (is_text_list(Config, _key(word)) and not value.startswith("[")):
        return None
    expected = "expected one value, values with commas as in beta_kl=0.0,0.01,0.1, or range(0,3)"
    quotes = "a text with blanks, brackets or signs needs quotes of its own"
    return override_of(word, f"cannot read the value of {key}; {expected}; {quotes}")


def _cell(
    words: tuple[str, ...], varying: Sequence[str], evaluation: tuple[str, ...] | None
) -> tuple[Cell, dict[str, str]]:
    """The cell without the words that nothing reads in it, and these with their reasons: another cell may read them."""
    try:
        whole = training(words)
        unread, left_out = unread_words(whole, words), unread_words(whole, words, nulls=True)
        words = tuple(word for word in words if word not in left_out)
        config = training(words)
    except UserError as error:
        words_told = _varied(words, varying)
        where = f"{words_told}: " if words_told and not str(error).startswith(words_told) else ""
        raise UserError(f"{where}{error} (no cell was started)") from error
    if config.run_name is not None:
        raise UserError("run_name would put every cell into one folder; leave it out: a run is named by its content")
    unused = set(map(_key, left_out))
    values = {key: None if key in unused else _value(key, words, config) for key in varying if key != "seed"}
    axes = {key.rpartition(".")[2]: value for key, value in values.items()}
    shown = {key: f"{value:g}" if isinstance(value, float) else value for key, value in axes.items()}
    label = [*(f"{key}={'null' if value is None else value}" for key, value in shown.items()), f"s{config.seed}"]
    calls = [Call("train", words)]
    initial: SweepJob | None = None
    if evaluation is not None:
        calls.append(Call("evaluate", (f"model={run_folder(words)}", *evaluation)))
        initial = _initial(words, config, evaluation)
    name = f"{config_hash(config)}-s{config.seed}"  # without output, tracking and hardware
    return Cell(name, " ".join(label), tuple(calls), config=config, axes=axes, initial=initial), unread


def _initial(words: Sequence[str], config: Config, evaluation: tuple[str, ...]) -> SweepJob:
    keys = [(_key(word), word.partition("=")[2]) for word in words]
    own = tuple(f"{key}={value}" for key, value in keys if key.split(".")[0] == "model")
    if config.hazards != "builtin":  # evaluate takes these from a run, and how it is prompted
        own += (as_override("hazards", config.hazards),)
    if config.data.dataset == "twins" and config.data.file:
        own += (as_override("twins_file", config.data.file),)
    if (arm := asking((*own, *evaluation)).prompt.arm) != "none":
        how = flat({"prompt": {**config.prompt.model_dump(), "arm": arm}})
        unread = {"prompt.arm", *(key for key, _ in unread_keys(how, set(how)))}
        own += tuple(as_override(key, how[key]) for key in sorted(how.keys() - unread))
    asked = (*own, *evaluation)
    name = f"initial-{content_hash(asked)}"
    return SweepJob(name, f"initial {config.model.name}", (Call("evaluate", asked),), config=config)


def _value(key: str, words: Sequence[str], config: Config) -> Any:
    """A group's choice as written, a key's value as resolved."""
    if key in groups(CONF_DIR, "config"):
        return next((word.partition("=")[2] for word in words if _key(word) == key), "default")
    section, _, leaf = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, leaf)


def _key(word: str) -> str:
    key = word.partition("=")[0]
    return leaf_paths(Config).get(key, key)


def _varied(words: Sequence[str], varying: Sequence[str]) -> str:
    return " ".join(word for word in words if _key(word) in varying)
