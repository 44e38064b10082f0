"""The card of a request set: which sets are asked about, how it is measured (states, the layer, the probe, its answers
about each pair of sets), and where it is kept, to measure it once.

The sets are pairs of benchmarks, harmful requests beside harmless ones, read from the folder of benchmarks only, never
from the hub; a file that is not there is named. Large sets are thinned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.data.benchmark_items import load_items, load_spec
from cada_trl.data.prepared import PreparedData
from cada_trl.errors import UserError
from cada_trl.models.named import model_identity
from cada_trl.planning.device import check_gpu
from cada_trl.records import Request
from cada_trl.separability.features import FrozenModel
from cada_trl.separability.probe import (
    BagOfWords,
    CurvePoint,
    Separation,
    StatesArray,
    TrainingRows,
    candidate_layers,
    cross_validated,
    fit,
    learning_curve,
    training_rows,
)
from cada_trl.storage.digest import content_hash, file_sha256, sha256
from cada_trl.storage.files import JsonRecord, read_json

VERSION = 3  # raise it when the same inputs give other numbers
SEED = 0  # of folds, resamples and draws: the card is the request set's and the model's alone
TWINS = ("twins_harmful", "twins_harmless")
NO_TWINS = "held-out twins, of which this request set has none"

PAIRS = (  # harmful, harmless
    ("xstest_unsafe", "xstest_safe"),
    ("strongreject", "xstest_safe"),
    ("jailbreakbench_harmful", "jailbreakbench_benign"),
    ("advbench", "or_bench_hard"),
)
# key -> (label, names in hydra_conf/benchmark/, of two the first whose file is there -> one row of that many is taken)
SETS: dict[str, tuple[str, dict[str, int]]] = {
    "xstest_unsafe": ("XSTest unsafe", {"xstest_unsafe": 1}),
    "xstest_safe": ("XSTest safe", {"xstest_safe": 1}),
    "strongreject": ("StrongREJECT", {"strongreject": 1}),
    "jailbreakbench_harmful": ("JailbreakBench harmful", {"jailbreakbench_harmful": 1}),
    "jailbreakbench_benign": ("JailbreakBench benign", {"jailbreakbench_benign": 1}),
    "advbench": ("AdvBench", {"advbench": 4}),
    "or_bench_hard": ("OR-Bench hard", {"or_bench_hard": 4, "or_bench_hard_part": 1}),
}


@dataclass(frozen=True)
class TextSet:
    """label: what the texts are, in words. absent: what was looked for in vain; the texts are then []."""

    label: str
    texts: list[str]
    absent: str | None = None


class PairResult(JsonRecord):
    """One pair of sets. absent: the file that was expected where there is none; nothing was measured then."""

    harmful: str
    harmless: str
    n_harmful: int
    n_harmless: int
    absent: str | None
    probe: Separation | None
    bag_of_words: Separation | None


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


def make_card(config: Config, data: PreparedData, inputs: dict[str, Any], curve_sizes: Sequence[int]) -> Card:
    """Measure everything anew, in minutes. inputs: kept with it. curve_sizes: in pairs; none gives no curve.

    Errors: UserError as check_gpu and load_policy, for a benchmark file that is not the published one, and for too few
    rows.
    """
    from cada_trl.models.load import load_policy, load_tokenizer

    check_gpu(config.hardware.device)
    rows = training_rows(by_text(data.train), by_text(data.benign_train))
    folder = config.data.benchmarks_dir
    sets = {key: read_set(key, Path(folder) if folder else None) for key in SETS} | _twins(data)
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


def read_set(key: str, folder: Path | None) -> TextSet:
    """The set's texts, or the file that was expected. Errors: UserError for a file that is not the published one."""
    label, benchmarks = SETS[key]
    for name, every in benchmarks.items():
        spec = load_spec(name)
        if folder is not None and (folder / spec.file).is_file():
            texts = [item.request for item in load_items(spec, folder, None, 0)]
            parts = [f"every {every}th row"] if every > 1 else []
            parts += ["a published part"] if name.endswith("_part") else []
            return TextSet(f"{label} ({', '.join(parts)})" if parts else label, texts[::every])
    files = [
        str(folder / spec.file) if folder else f"{spec.file} (benchmarks_dir=null)"
        for spec in map(load_spec, benchmarks)
    ]
    return TextSet(label, [], " or ".join(files))


def files_digest(folder: Path | None) -> dict[str, str | None]:
    """Benchmark -> the SHA-256 of its file; None where it is absent."""
    digests: dict[str, str | None] = {}
    for name in (name for _, benchmarks in SETS.values() for name in benchmarks):
        file = folder / load_spec(name).file if folder else None
        digests[name] = file_sha256(file) if file and file.is_file() else None
    return digests


def card_inputs(config: Config, data: PreparedData) -> dict[str, Any]:
    """Everything that decides the numbers, by content. Reads the weights once. Errors: UserError as model_identity."""
    folder = config.data.benchmarks_dir
    return {
        "version": VERSION,
        "request_set": rows_digest([data.train, data.benign_train, data.twins_probe]),
        "model": {**model_identity(config.model), "dtype": config.model.dtype},
        "benchmarks": files_digest(Path(folder) if folder else None),
    }


def by_text(rows: Sequence[Request]) -> list[Request]:
    """In an order that the draw's seed does not decide."""
    return sorted(rows, key=lambda row: row.text)


def rows_digest(parts: Sequence[Sequence[Request]]) -> str:
    """SHA-256 of the rows' texts, of what they are and of who is whose twin."""
    rows = [[[row.text, row.harmful, row.pair] for row in by_text(part)] for part in parts]
    return sha256(json.dumps(rows))


def card_file(data_dir: str, inputs: dict[str, Any]) -> Path:
    return Path(data_dir) / f"card-{content_hash(inputs)}.json"


def kept_card(config: Config, data: PreparedData) -> Card | None:
    """The card of exactly this request set and model, where it was made. Without any card no weights are read. Errors:
    UserError for a file that was edited, and as card_inputs."""
    if not any(Path(config.data_dir).glob("card-*.json")):
        return None
    return read_card(card_file(config.data_dir, card_inputs(config, data)))


def read_card(path: Path) -> Card | None:
    """None where there is no file. Errors: UserError for a file that is no card."""
    try:
        return Card.from_json(read_json(path)) if path.exists() else None
    except UserError as error:
        raise UserError(f"{path} is not a card of this version; delete it and run make card again") from error
