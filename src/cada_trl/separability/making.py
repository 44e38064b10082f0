"""From a request set and a model to its card: states, the layer, the probe, its answers about each pair of sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.data.prepared import PreparedData
from cada_trl.planning.device import check_gpu
from cada_trl.separability.card import PAIRS, Card, PairResult, TextSet, read_sets
from cada_trl.separability.features import FrozenModel, StatesArray
from cada_trl.separability.probe import BagOfWords, Separation, fit
from cada_trl.separability.training_rows import (
    TrainingRows,
    candidate_layers,
    cross_validated,
    learning_curve,
    training_rows,
)

SEED = 0  # of folds, resamples and draws: the card is the request set's and the model's alone
TWINS = ("twins_harmful", "twins_harmless")
NO_TWINS = "held-out twins, of which this request set has none"


def make_card(config: Config, data: PreparedData, inputs: dict[str, Any], curve_sizes: Sequence[int]) -> Card:
    """Measure everything anew, in minutes. inputs: kept with it. curve_sizes: in pairs; none gives no curve.

    Errors: UserError as check_gpu and load_policy, for a benchmark file that is not the published one, and for too few
    rows.
    """
    from cada_trl.models.load import load_policy, load_tokenizer

    check_gpu(config.hardware.device)
    rows = training_rows(data.train, data.benign_train)
    folder = config.data.benchmarks_dir
    sets = read_sets(Path(folder) if folder else None) | _twins(data)
    tokenizer = load_tokenizer(config.model)
    policy: Any = load_policy(config.model, tokenizer)
    model = FrozenModel(policy.to(config.hardware.device), tokenizer)
    layers = candidate_layers(model.n_layers)
    trained_lnf = model.states(rows.texts, layers, f"{len(rows.texts)} training rows")
    layer_auc = cross_validated(trained_lnf, layers, rows, SEED)
    layer = max(layers, key=layer_auc.__getitem__)
    trained_nf = trained_lnf[layers.index(layer)]
    model.keep_layers(layer)
    states = {key: model.states(s.texts, [layer], s.label)[0] for key, s in sets.items() if s.texts}
    asked = {
        f"{sets[harmful].label} | {sets[harmless].label}": (states[harmful], states[harmless])
        for harmful, harmless in (*PAIRS, TWINS)
        if not sets[harmful].absent and not sets[harmless].absent
    }
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
        curve=learning_curve(curve_sizes, trained_nf, rows, asked, SEED),
    )


def _twins(data: PreparedData) -> dict[str, TextSet]:
    texts = {side: [one.text for one in data.twins_probe if one.harmful == side] for side in (True, False)}
    absent = None if all(texts.values()) else NO_TWINS
    labels = {True: "Held-out twins, harmful", False: "held-out twins, harmless"}
    return {key: TextSet(labels[side], texts[side], absent) for key, side in zip(TWINS, (True, False), strict=True)}


def _results(
    sets: dict[str, TextSet], states: dict[str, StatesArray], trained_nf: StatesArray, rows: TrainingRows
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
            measured = {"probe": Separation.of(*scores, SEED), "bag_of_words": Separation.of(*word_scores, SEED)}
        return PairResult(
            harmful=both[0].label,
            harmless=both[1].label,
            n_harmful=len(both[0].texts),
            n_harmless=len(both[1].texts),
            absent=" and ".join(dict.fromkeys(missing)) or None,
            **measured,
        )

    return [result(*pair) for pair in (*PAIRS, TWINS)]
