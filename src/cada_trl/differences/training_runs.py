"""Two training runs: configuration, origins, data, the step where they part, and their probes in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cada_trl.differences.difference import ABSENT, Difference, Meaning, differences
from cada_trl.differences.explanation import Explanation, Section, difference_section, experiment_sentence, shown
from cada_trl.differences.origins import RUN_KEYS, config_differences, manifest_differences, shared_facts, unsure_code
from cada_trl.differences.parting import Parting, asked_ids, parting
from cada_trl.errors import UserError
from cada_trl.records import read_requests
from cada_trl.reporting.run import cells, labels
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.summary import summarise
from cada_trl.storage.digest import file_sha256

Row = dict[str, Any]
_FACTS = ("template_hash", "hazards_hash", "judge_id", "reference_hash", "git.commit")
_MEANS = {
    "requests": "Other requests were trained on: the request set, the seed or the batch differs, before any sampling.",
    "rollouts": "The same requests were asked and answered otherwise: sampling (seed, prompt, temperature), weights or "
    "packages differ, or updates before this step did by less than the tolerance.",
    "verdicts": "The same samples were judged or paid otherwise: the judge or the reward differs.",
    "numbers": "Requests, samples and verdicts are the same and the update is not: the objective, the optimiser or "
    "rounding differs.",
}
_NOT_KEPT = "Its samples were not kept by both, so whether it began with the requests or the samples is not known."


def explain_runs(a: RunRecord, b: RunRecord, tolerance: float) -> Explanation:
    """Everything that differs. Errors: UserError for a run that did not finish, or a damaged file."""
    for run in (a, b):
        _check_finished(run)
    names = (a.name, b.name)
    config = config_differences(a.config, b.config, RUN_KEYS)
    origins = manifest_differences(a.manifest, b.manifest)
    parted = parting(a, b, tolerance)
    data, data_twin = _data(a, b)
    before, after = _probes(a, b, "before"), _probes(a, b, "after")
    in_short = [experiment_sentence(config), _origins_sentence(origins), *_parting_sentences(parted, a, b)]
    in_short.append(_weights_sentence(a, b))
    sections = [
        Section("In short", in_short),
        difference_section("Configuration", config, names),
        difference_section("Where they come from", origins, names, _fact_sentences(a.manifest, b.manifest)),
        data,
        _parting_section(parted, names),
        _probe_section("Probes before training", before, names),
        _probe_section("Probes after training", after, names),
    ]
    twin = {
        "runs": [str(run.path) for run in (a, b)],
        "config": [asdict(one) for one in config],
        "origins": [asdict(one) for one in origins],
        "data": data_twin,
        "parting": {"tolerance": tolerance, **asdict(parted)},
        "probes_before": before,
        "probes_after": after,
    }
    return Explanation(names, sections, twin)


def _check_finished(run: RunRecord) -> None:
    state = run.manifest.get("exit_state") or "unknown: it has no manifest.json"
    if state != "done":
        last = run.steps[-1]["step"] if run.steps else 0
        raise UserError(
            f"{run.path} did not finish (state: {state}; last step {last}); its training command goes on with it"
        )


def _weights_sentence(a: RunRecord, b: RunRecord) -> str:
    weights = [_trained_weights(run) for run in (a, b)]
    if not all(weights):
        return "The trained weights are not in both folders, so they are not compared."
    same = "the same, bit for bit" if weights[0] == weights[1] else "not the same"
    return f"The trained weights are {same}."


def _trained_weights(run: RunRecord) -> dict[str, str]:
    """File name -> SHA-256 of what final/ holds."""
    return {path.name: file_sha256(path) for path in sorted((run.path / "final").glob("*.safetensors"))}


def _origins_sentence(origins: Sequence[Difference]) -> str:
    told = [one.what for one in origins if one.meaning is not Meaning.PLACE]
    place = "; the machine differs too" if len(told) < len(origins) else ""
    return f"Beside the configuration differ: {', '.join(told) or 'nothing that the manifests record'}{place}."


def _fact_sentences(a: Row, b: Row) -> list[str]:
    same, unknown = shared_facts(a, b, _FACTS)
    sentences = [f"The same in both: {', '.join(same)}."] if same else []
    sentences += [f"Not recorded by both, so not compared: {', '.join(unknown)}."] if unknown else []
    if unsure_code(a, b):
        sentences.append("Files differed from the commit in at least one run: equal commits do not mean equal code.")
    return sentences


def _data(a: RunRecord, b: RunRecord) -> tuple[Section, dict[str, Any]]:
    """The request sets: what made them, their sizes, and how many requests they share."""
    sets = [run.manifest.get("data") or {} for run in (a, b)]
    made = differences(sets[0].get("inputs") or {}, sets[1].get("inputs") or {}, {"": Meaning.RESULT})
    rows = [["made with: " + one.what, shown(one.a), shown(one.b), ""] for one in made]
    rows += [[f"requests in {part}", *_sizes(sets, part), ""] for part in ("train", "probe", "harmless_probe")]
    counts: dict[str, Any] = {}
    for label, ids in {
        "train, as prepared": [_prepared_ids(run) for run in (a, b)],
        "asked in training": [asked_ids(run) or None for run in (a, b)],
    }.items():
        shared = None if None in ids else len(ids[0] & ids[1])  # type: ignore[operator]
        counts[label] = [None if one is None else len(one) for one in ids] + [shared]
        rows.append([f"ids: {label}", *("not here" if count is None else str(count) for count in counts[label])])
    hashes = [str(run.manifest.get("data_hash") or "unknown") for run in (a, b)]
    same = hashes[0] == hashes[1] != "unknown"
    said = f"The same request set ({hashes[0]})." if same else f"Two request sets: {hashes[0]} and {hashes[1]}."
    header = ["", a.name, b.name, "Shared"]
    twin = {"hashes": hashes, "made_with": [asdict(one) for one in made], "ids_a_b_shared": counts}
    return Section("Requests", [said], header, rows), twin


def _sizes(sets: Sequence[Row], part: str) -> list[str]:
    return [str(((one.get("split") or {}).get(part) or {}).get("n", ABSENT)) for one in sets]


def _prepared_ids(run: RunRecord) -> set[str] | None:
    """Ids of the prepared training requests; None where the folder is not on this machine."""
    name = (run.manifest.get("data") or {}).get("name")
    path = Path(str(run.config.get("data_dir"))) / str(name) / "train.jsonl"
    return {request.id for request in read_requests(path)} if name and path.is_file() else None


def _parting_sentences(parted: Parting, a: RunRecord, b: RunRecord) -> list[str]:
    if parted.step is None or parted.what is None:
        lengths = "" if len(a.steps) == len(b.steps) else f" One has {len(a.steps)} steps, the other {len(b.steps)}."
        if not parted.compared:
            return ["No step was recorded by both, so nothing says where they part."]
        return [f"They do not part: all {parted.compared} steps that both recorded are the same.{lengths}"]
    means = _NOT_KEPT if parted.what == "numbers" and parted.rollouts is None else _MEANS[parted.what]
    return [f"They part at step {parted.step}, first in its {parted.what}. {means}"]


def _parting_section(parted: Parting, names: Sequence[str]) -> Section:
    sentences = [f"Steps compared: {parted.compared}; times are left out."]
    if parted.what is not None:
        same = "other" if parted.what == "requests" else "the same" if parted.rollouts else "not recorded"
        sentences.append(f"Requests of step {parted.step}: {same}.")
    if parted.rollouts:
        sentences.append(f"Samples that differ: {parted.rollouts[0]} of {parted.rollouts[1]}.")
    rows = []
    if parted.text:
        one = parted.text
        sentences.append(f"The first is of {one.request_id} and parts at character {one.at_char}.")
        rows.append(["text from there", shown(repr(one.a)), shown(repr(one.b))])
    for name, (x, y) in (parted.metrics or {}).items():
        rows.append([name, *("null" if value is None else f"{value:.8g}" for value in (x, y))])
    return Section("Where they part", sentences, ["", *names], rows)


def _probes(a: RunRecord, b: RunRecord, when: str) -> dict[str, Any]:
    """As summarise's "probes", with the first run as before and the second as after."""
    both = replace(a, before=getattr(a, when), after=getattr(b, when))
    probes: dict[str, Any] = summarise(both)["probes"]
    return {name: {"a": one["before"], "b": one["after"], "paired": one["paired"]} for name, one in probes.items()}


def _probe_section(title: str, probes: dict[str, Any], names: Sequence[str]) -> Section:
    rows = []
    for probe_set, one in probes.items():
        for measure in labels.measures(probe_set):
            paired = one["paired"][measure]
            clear = paired["difference"] is not None and not paired["low"] <= 0 <= paired["high"]
            sides = [str(cells.rate_cell(side and side[measure])) for side in (one["a"], one["b"])]
            what = f"{labels.SETS[probe_set]}: {labels.measure_label(probe_set, measure)}"
            rows.append([what, *sides, str(cells.difference_cell(paired)), "clear" if clear else "not clear"])
    said = "In pairs, on the requests that both were asked; clear: the 95 % interval leaves 0 out."
    return Section(title, [said if rows else "Not recorded."], ["", *names, "Second - first", ""], rows)
