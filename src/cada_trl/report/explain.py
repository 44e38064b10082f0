"""Two runs, or two evaluations: what differs, what that means, where it first shows, and their rates in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cada_trl.document.blocks import Block, Bullets, Document, Section, Shown, Table
from cada_trl.errors import UserError
from cada_trl.evaluation.compare import compare
from cada_trl.records import read_requests
from cada_trl.report.differences import (
    ABSENT,
    EVALUATION_KEYS,
    EVALUATION_MANIFEST,
    RUN_KEYS,
    RUN_MANIFEST,
    Difference,
    Meaning,
    Parting,
    TextDifference,
    asked_ids,
    differences,
    manifest_differences,
    parting,
    shared_facts,
    text_difference,
    unsure_code,
)
from cada_trl.report.names import SETS, cell_name, measure_label, measures
from cada_trl.report.rates import change_cell, share_cell
from cada_trl.report.records import EvalRecord
from cada_trl.report.run_record import Row, RunRecord
from cada_trl.report.summary import NO_PAIRS, UNJUDGED, paired_cell, stage_cell, summarise
from cada_trl.storage.digest import file_sha256

_FACTS = ("template_hash", "hazards_hash", "judge_id", "reference_hash", "git.commit")
_MEANS = {
    "requests": "Other requests were trained on: the request set, the seed or the batch differs, before any sampling.",
    "rollouts": "The same requests were asked and answered otherwise: sampling (seed, processes, prompt, temperature), "
    "weights or packages differ, or updates before this step did by less than the tolerance.",
    "verdicts": "The same samples were judged or paid otherwise: the judge or the reward differs.",
    "numbers": "Requests, samples and verdicts are the same and the update is not: the objective, the optimiser or "
    "rounding differs.",
}
_SHOWN_CHARACTERS = 90
_NOT_KEPT = "Its samples were not kept by both, so whether it began with the requests or the samples is not known."
_TWO_JUDGES = "Different judges: judge both by one of them to compare rates."
_CODE = "Files differed from the commit in at least one: equal commits do not mean equal code."


def explain_runs(a: RunRecord, b: RunRecord, tolerance: float) -> Document:
    """Everything that differs. Errors: UserError for a run that did not finish, or a damaged file."""
    for run in (a, b):
        if run.manifest.get("exit_state") != "done":
            state = run.manifest.get("exit_state") or "unknown: it has no manifest.json"
            last = run.steps[-1]["step"] if run.steps else 0
            raise UserError(
                f"{run.path} did not finish (state: {state}; last step {last}); its training command goes on with it"
            )
    names, parted = (a.name, b.name), parting(a, b, tolerance)
    origins = manifest_differences(a.manifest, b.manifest, RUN_MANIFEST)
    data, data_twin = _data(a, b)
    one_judge = a.manifest.get("judge_id") == b.manifest.get("judge_id")
    probes = {when: _probes(a, b, when, one_judge) for when in ("before", "after")}
    sections = [data, _parting_section(parted, names)]
    sections += [_probe_section(f"Probes {when} training", one, names, one_judge) for when, one in probes.items()]
    same, unknown = shared_facts(a.manifest, b.manifest, _FACTS)
    facts = [f"The same in both: {', '.join(same)}."] if same else []
    facts += [f"Not recorded by both, so not compared: {', '.join(unknown)}."] if unknown else []
    files = [{path.name: file_sha256(path) for path in (run.path / "final").glob("*.safetensors")} for run in (a, b)]
    weights = "the same, bit for bit" if files[0] == files[1] else "not the same"
    if not all(files):
        weights = "not in both folders, so they are not compared"
    in_short = [_parting_sentence(parted, a, b), f"The trained weights are {weights}."]
    twin = {"data": data_twin, "parting": {"tolerance": tolerance, **asdict(parted)}}
    twin |= {f"probes_{when}": one for when, one in probes.items()}
    found = {"config": differences(a.config, b.config, RUN_KEYS), "origins": origins}
    return _explained("runs", (a, b), found, in_short, facts, sections, twin)


def explain_evaluations(a: EvalRecord, b: EvalRecord) -> Document:
    """Everything that differs; rates are compared where one judge gave both sides' verdicts. Errors: UserError for an
    evaluation that is not finished."""
    for one in (a, b):
        if (state := one.manifest.get("exit_state")) != "done":
            raise UserError(
                f"{one.path} is not finished (state: {state or 'unknown'}); the same command goes on with it"
            )
    responses, in_short, twin = _responses(a, b)
    one_judge = a.scores.judge_id == b.scores.judge_id
    coverage = max(a.scores.min_coverage, b.scores.min_coverage)
    compared = compare([a.evaluated], [b.evaluated], coverage) if one_judge else None
    twin |= {"compared": None if compared is None else compared.to_json()}
    rows: list[list[Shown]] = [
        [
            f"{cell_name(cell.benchmark, cell.attack)}: complied",
            *map(share_cell, (cell.complied.before, cell.complied.after)),
            change_cell(cell.complied),
        ]
        for cell in (compared.cells if compared else ())
    ]
    said = "In pairs, on the prompts that they share." if compared else _TWO_JUDGES
    sections = [responses, _section("Rates", [said], ["", a.name, b.name, "Second - first"], rows)]
    found = {
        "config": differences(a.config, b.config, EVALUATION_KEYS),
        "origins": manifest_differences(a.manifest, b.manifest, EVALUATION_MANIFEST),
    }
    return _explained("evaluations", (a, b), found, [in_short], [], sections, twin)


def _explained(
    kind: str,
    two: tuple[RunRecord, RunRecord] | tuple[EvalRecord, EvalRecord],
    found: dict[str, list[Difference]],  # config, origins
    in_short: Sequence[str],
    facts: Sequence[str],
    sections: Sequence[Section],
    twin: Row,
) -> Document:
    """What is said of both kinds, around what is said of one."""
    a, b = two
    sentences = {"config": [], "origins": [*facts, *([_CODE] if unsure_code(a.manifest, b.manifest) else [])]}
    in_short = [_experiment_sentence(found["config"]), _origins_sentence(found["origins"]), *in_short]
    first = [_section("In short", in_short)]
    for title, name in (("Configuration", "config"), ("Where they come from", "origins")):
        said = [*sentences[name], *([] if found[name] else ["No difference."])]
        rows = [[one.what, _shown(one.a), _shown(one.b), str(one.meaning)] for one in found[name]]
        first.append(_section(title, said, ["", a.name, b.name, "Meaning"], rows))
    told = {kind: [str(one.path) for one in two], **{name: [asdict(one) for one in own] for name, own in found.items()}}
    return Document(f"Why {a.name} and {b.name} differ", [*first, *sections], told | twin)


def _data(a: RunRecord, b: RunRecord) -> tuple[Section, Row]:
    """The request sets: what made them, their sizes, and how many requests they share."""
    sets = [run.manifest.get("data") or {} for run in (a, b)]
    made = differences(sets[0].get("inputs") or {}, sets[1].get("inputs") or {}, {"": Meaning.RESULT})
    rows = [["made with: " + one.what, _shown(one.a), _shown(one.b), ""] for one in made]
    for part in ("train", "probe", "harmless_probe"):
        sizes = [str(((one.get("split") or {}).get(part) or {}).get("n", ABSENT)) for one in sets]
        rows.append([f"requests in {part}", *sizes, ""])
    counts: Row = {}
    for label, first, second in (
        ("train, as prepared", _prepared_ids(a), _prepared_ids(b)),
        ("asked in training", asked_ids(a) or None, asked_ids(b) or None),
    ):
        shared = None if first is None or second is None else first & second
        counts[label] = [None if one is None else len(one) for one in (first, second, shared)]
        rows.append([f"ids: {label}", *("not here" if count is None else str(count) for count in counts[label])])
    hashes = [str(run.manifest.get("data_hash") or "unknown") for run in (a, b)]
    same = hashes[0] == hashes[1] != "unknown"
    said = f"The same request set ({hashes[0]})." if same else f"Two request sets: {hashes[0]} and {hashes[1]}."
    twin = {"hashes": hashes, "made_with": [asdict(one) for one in made], "ids_a_b_shared": counts}
    return _section("Requests", [said], ["", a.name, b.name, "Shared"], rows), twin


def _prepared_ids(run: RunRecord) -> set[str] | None:
    """Ids of the prepared training requests; None where the folder is not on this machine."""
    name = (run.manifest.get("data") or {}).get("name")
    path = Path(str(run.config.get("data_dir"))) / str(name) / "train.jsonl"
    return {request.id for request in read_requests(path)} if name and path.is_file() else None


def _parting_sentence(parted: Parting, a: RunRecord, b: RunRecord) -> str:
    if parted.what is not None:
        not_kept = parted.what == "numbers" and parted.rollouts is None
        means = _NOT_KEPT if not_kept else _MEANS[parted.what]
        return f"They part at step {parted.step}, first in its {parted.what}. {means}"
    if not parted.compared:
        return "No step was recorded by both, so nothing says where they part."
    lengths = "" if len(a.steps) == len(b.steps) else f" One has {len(a.steps)} steps, the other {len(b.steps)}."
    return f"They do not part: all {parted.compared} steps that both recorded are the same.{lengths}"


def _parting_section(parted: Parting, names: Sequence[str]) -> Section:
    sentences = [f"Steps compared: {parted.compared}; times are left out."]
    if parted.what is not None:
        same = "other" if parted.what == "requests" else "the same" if parted.rollouts else "not recorded"
        sentences.append(f"Requests of step {parted.step}: {same}.")
    if parted.rollouts:
        sentences.append(f"Samples that differ: {parted.rollouts[0]} of {parted.rollouts[1]}.")
    said, rows = _first(parted.text)
    for name, both in (parted.metrics or {}).items():
        rows.append([name, *("null" if one is None else f"{one:.8g}" for one in both)])
    return _section("Where they part", [*sentences, *said], ["", *names], rows)


def _probes(a: RunRecord, b: RunRecord, when: str, one_judge: bool) -> Row:
    """As summarise's "probes", with the first run as before and the second as after; verdicts of two judges are no
    pairs."""
    both = replace(a, before=getattr(a, when), after=getattr(b, when))
    if a.config.get("reward") != b.config.get("reward"):
        both = replace(both, config={})  # two tables have no scale in common: the rewards are left out
    probes: Row = summarise(both)["probes"]
    for one in () if one_judge else probes.values():
        one["paired"] |= {measure: NO_PAIRS for measure in one["paired"] if measure != UNJUDGED}
    return {name: {"a": one["before"], "b": one["after"], "paired": one["paired"]} for name, one in probes.items()}


def _probe_section(title: str, probes: Row, names: Sequence[str], one_judge: bool) -> Section:
    rows: list[list[Shown]] = []
    for probe_set, one in probes.items():
        for measure in measures(probe_set):
            paired = one["paired"][measure]
            known = paired["difference"] is not None
            clear = known and not paired["low"] <= 0 <= paired["high"]
            sides = [stage_cell(side, measure) for side in (one["a"], one["b"])]
            what = f"{SETS[probe_set]}: {measure_label(probe_set, measure)}"
            read = "clear" if clear else "not clear" if known else ""
            rows.append([what, *sides, paired_cell(paired, measure), read])
    said = ["In pairs, on the requests that both were asked; clear: the 95 % interval leaves 0 out."]
    said += [] if one_judge else [_TWO_JUDGES]
    return _section(title, said if rows else ["Not recorded."], ["", *names, "Second - first", ""], rows)


def _responses(a: EvalRecord, b: EvalRecord) -> tuple[Section, str, Row]:
    """The attempts with one prompt in both, and the first that was answered otherwise, in the first's order."""
    asked = (len(a.attempts), len(b.attempts))
    shared = [one for one in a.attempts if one.key in a.responses and one.key in b.responses]
    pairs = [(one, a.responses[one.key].completion, b.responses[one.key].completion) for one in shared]
    apart = [(one.id, one.prompt, x, y) for one, x, y in pairs if x != y]
    first = text_difference(*apart[0]) if apart else None
    in_short = f"Of {len(shared)} responses to the prompts that they share {len(apart)} differ."
    if not shared:
        in_short = "They asked nothing in common: no attempt has the same prompt in both."
    elif not apart:
        in_short = f"All {len(shared)} responses to the prompts that they share are the same, letter by letter."
    said, rows = _first(first)
    said = [f"Asked: {asked[0]} and {asked[1]}; with the same prompt: {len(shared)}.", *said]
    twin = {"asked": asked, "shared": len(shared), "differ": len(apart), "first": asdict(first) if first else None}
    return _section("Responses", said, ["", a.name, b.name], rows), in_short, {"responses": twin}


def _section(
    title: str, sentences: Sequence[str], header: Sequence[str] = (), rows: Sequence[Sequence[Shown]] = ()
) -> Section:
    blocks: list[Block] = [Bullets(sentences)] if sentences else []
    return Section(title, blocks + ([Table(title, header, rows)] if rows else []))


def _first(one: TextDifference | None) -> tuple[list[str], list[list[str]]]:
    """The sentence and the row on the first of two texts that differ."""
    if one is None:
        return [], []
    said = f"The first that differs is of {one.request_id} and parts at character {one.at_char}."
    return [said], [["text from there", _shown(repr(one.a)), _shown(repr(one.b))]]


def _experiment_sentence(config: Sequence[Difference]) -> str:
    deciding = [one.what for one in config if one.meaning is Meaning.RESULT]
    if deciding:
        more = f" and {len(deciding) - 5} more" if len(deciding) > 5 else ""
        return f"Two experiments: they differ in {', '.join(deciding[:5])}{more}, which decides the result."
    if drawn := [one.what for one in config if one.meaning is Meaning.SEED]:
        return (
            f"One configuration, drawn twice ({', '.join(drawn)}): nothing else in it that decides the result differs."
        )
    return "One configuration: no key that decides the result differs."


def _origins_sentence(origins: Sequence[Difference]) -> str:
    told = [one.what for one in origins if one.meaning is not Meaning.PLACE]
    place = "; the machine differs too" if len(told) < len(origins) else ""
    return f"Beside the configuration differ: {', '.join(told) or 'nothing that the manifests record'}{place}."


def _shown(value: Any) -> str:
    """A value in a cell, cut to a readable length."""
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
