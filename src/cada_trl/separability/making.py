"""From a request set and a model to its card: states, the layer, the probe, its answers about each pair of sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cada_trl.config import Config
from cada_trl.prepare import PreparedData
from cada_trl.separability.card import Card, PairResult
from cada_trl.separability.curve import CurvePoint, learning_curve
from cada_trl.separability.features import FrozenModel, StatesArray
from cada_trl.separability.layers import candidate_layers, cross_validated
from cada_trl.separability.measures import separation
from cada_trl.separability.pairs import PAIRS, TextSet, read_sets
from cada_trl.separability.probe import fit
from cada_trl.separability.training_rows import TrainingRows, training_rows
from cada_trl.separability.words import BagOfWords

SEED = 0  # of folds, resamples and draws: the card is the request set's and the model's alone
TWINS = ("twins_harmful", "twins_harmless")
NO_TWINS = "held-out twins, of which this request set has none"

States = npt.NDArray[np.float32]


def make_card(config: Config, data: PreparedData, inputs: dict[str, Any], curve_sizes: Sequence[int]) -> Card:
    """Measure everything anew, in minutes. inputs: kept with it. curve_sizes: in pairs; none gives no curve.

    Errors: UserError as load_policy, for a benchmark file that is not the published one, and for too few rows.
    """
    rows = training_rows(data.train, data.benign_train)
    folder = config.data.benchmarks_dir
    sets = read_sets(Path(folder) if folder else None) | _twins(data)
    model = _frozen(config)
    layers = candidate_layers(model.n_layers)
    trained_lnf = model.states(rows.texts, layers, f"{len(rows.texts)} training rows")
    layer_auc = cross_validated(trained_lnf, layers, rows, SEED)
    layer = max(layers, key=lambda one: layer_auc[one])
    trained_nf = trained_lnf[layers.index(layer)]
    model.keep_layers(layer)
    states = {key: _states(model, one, layer) for key, one in sets.items() if one.texts}
    return Card(
        inputs=inputs,
        request_set=data.manifest["name"],
        model=config.model.name,
        n_harmful=len(data.train),
        n_harmless=len(data.benign_train),
        n_twins=len(rows.twins()),
        layer=layer,
        n_layers=model.n_layers,
        layer_auc=layer_auc,
        pairs=_results(sets, states, trained_nf, rows),
        curve=_curve(curve_sizes, sets, states, trained_nf, rows),
    )


def _twins(data: PreparedData) -> dict[str, TextSet]:
    texts = {side: [one.text for one in data.twins_probe if one.harmful == side] for side in (True, False)}
    absent = None if all(texts.values()) else NO_TWINS
    labels = {True: "Held-out twins, harmful", False: "held-out twins, harmless"}
    return {key: TextSet(labels[side], texts[side], absent) for key, side in zip(TWINS, (True, False), strict=True)}


def _frozen(config: Config) -> FrozenModel:
    from cada_trl.models.load import load_policy, load_tokenizer

    tokenizer = load_tokenizer(config.model)
    policy: Any = load_policy(config.model, tokenizer)
    return FrozenModel(policy.to(config.hardware.device), tokenizer)


def _states(model: FrozenModel, texts: TextSet, layer: int) -> StatesArray:
    one_nf: StatesArray = model.states(texts.texts, [layer], texts.label)[0]
    return one_nf


def _results(
    sets: dict[str, TextSet], states: dict[str, States], trained_nf: States, rows: TrainingRows
) -> list[PairResult]:
    probe, bag = fit(trained_nf, rows.harmful_n), BagOfWords(rows.texts)
    words = fit(bag.features(rows.texts), rows.harmful_n, standardised=False)

    def result(harmful: str, harmless: str) -> PairResult:
        both = [sets[harmful], sets[harmless]]
        missing = [one.absent for one in both if one.absent]
        measured: dict[str, Any] = {"probe": None, "bag_of_words": None}
        if not missing:
            scores = probe.score(states[harmful]), probe.score(states[harmless])
            word_scores = words.score(bag.features(both[0].texts)), words.score(bag.features(both[1].texts))
            measured = {"probe": separation(*scores, seed=SEED), "bag_of_words": separation(*word_scores, seed=SEED)}
        return PairResult(
            harmful=both[0].label,
            harmless=both[1].label,
            n_harmful=len(both[0].texts),
            n_harmless=len(both[1].texts),
            absent=" and ".join(dict.fromkeys(missing)) or None,
            **measured,
        )

    return [result(*pair) for pair in (*PAIRS, TWINS)]


def _curve(
    sizes: Sequence[int],
    sets: dict[str, TextSet],
    states: dict[str, States],
    trained_nf: States,
    rows: TrainingRows,
) -> list[CurvePoint]:
    asked = {
        f"{sets[harmful].label} | {sets[harmless].label}": (states[harmful], states[harmless])
        for harmful, harmless in (*PAIRS, TWINS)
        if not sets[harmful].absent and not sets[harmless].absent
    }
    return learning_curve(sizes, trained_nf, rows, asked, SEED)
