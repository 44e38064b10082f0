"""What a certificate says of a model before and after a training: rates, their change in pairs, what was not tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from cada_trl.config import ModelConfig
from cada_trl.config.loading import check_values
from cada_trl.document.blocks import Block, Bullets, Code, Document, Facts, Heading, Section, Table, Text
from cada_trl.evaluation.attacks import known_names
from cada_trl.evaluation.compare import Change, paired_change, with_holm
from cada_trl.evaluation.scores import Measure
from cada_trl.hazards.pack import ALL, OUTSIDE, load_pack
from cada_trl.models.named import model_fingerprint
from cada_trl.numbers import Cell, p_text
from cada_trl.report.caveats import (
    eval_not_run,
    judge_blocks,
    judge_cards,
    judge_sentence,
    missing_kinds,
    reward_judge_warnings,
)
from cada_trl.report.facts import eval_facts
from cada_trl.report.names import attack_name, benchmark_name, cell_name, hazard_name
from cada_trl.report.rates import LEAST_N, SliceRow, change_cell, measure_cell, slice_tables
from cada_trl.report.records import EvalRecord
from cada_trl.report.run_record import of_training
from cada_trl.storage.files import JsonRecord
from cada_trl.tracking.manifest import scrub

# What a reviewer looks for, in the page's order; any of a line will do.
EXPECTED = {
    "held-out twins": ("twins_harmful", "twins_harmless"),
    "StrongREJECT": ("strongreject",),
    "XSTest": ("xstest_safe", "xstest_unsafe"),
}
_FIRST = [name for names in EXPECTED.values() for name in names]
_LIMITS = (
    "Other languages than those of the requests: nothing was translated, unless an attack above says so.",
    "Conversations of several turns, tools, documents: each request is one message without a system prompt.",
    "Decoding other than greedy, and longer answers than the limit below.",
)
_RATES = (
    "Harmful requests: the share refused. Harmless ones: the share answered. Each with its Wilson 95 % interval and "
    "its counts; scored: of those asked. Difference: after minus before on the prompts that both read, 95 % interval; "
    "p: McNemar's exact test, in brackets adjusted by Holm over the rows."
)
_CHECK = (
    "Makes every number again from the verdicts and hashes every file. Call it from the folder that the evaluations "
    "were called from:"
)
_BY_HAZARD = "The same by hazard. These are looks at parts of the above, without tests; read the intervals."


class CertifiedRate(JsonRecord):
    """One benchmark under one attack, of one hazard or of all. change: after - before of the same measure."""

    benchmark: str
    attack: str
    hazard: str
    measure: Literal["refused", "answered"]
    before: Measure
    after: Measure
    change: Change


class Certificate(JsonRecord):
    """certificate.json. Paths are relative to its folder; those in the package begin with `package:`.

    made_by: version and commit of the code that wrote it. facts: side -> label -> value. rates: by
    benchmark/attack/hazard. weights: side -> file -> SHA-256, or a hub model's id and commit. files: path -> SHA-256.
    """

    format: Literal[1] = 1
    made_by: dict[str, Any]
    before: str
    after: str
    judge_cards: str | None
    facts: dict[str, dict[str, str]]
    min_coverage: float
    rates: dict[str, CertifiedRate]
    judge: str
    judge_agreement: str
    judge_card: dict[str, Any] | None
    warnings: list[str]
    not_tested: list[str]
    weights: dict[str, dict[str, str]]
    files: dict[str, str]


def certified(before: EvalRecord, after: EvalRecord, cards: Path | None) -> dict[str, Any]:
    """The fields of Certificate that follow from the two evaluations, which were asked the same."""
    judge = after.scores.judge_id
    card = judge_cards([after], cards)[judge]
    rates, model = certified_rates(before, after), before.config.get("model") or {}
    trained = [f"The model before was trained, too: {model.get('path')}."] if of_training(before).config else []
    return {
        "facts": {name: dict(scrub(eval_facts(one))) for name, one in (("before", before), ("after", after))},
        "min_coverage": after.scores.min_coverage,
        "rates": {f"{one.benchmark}/{one.attack}/{one.hazard}": one for one in rates},
        "judge": judge,
        "judge_agreement": judge_sentence(judge, card),
        "judge_card": card,
        "warnings": [*trained, *_another_start(before, after), *reward_judge_warnings([after])],
        "not_tested": not_tested(before, after, rates),
    }


def _another_start(before: EvalRecord, after: EvalRecord) -> list[str]:
    """A warning where the training did not begin from the model that was asked before it."""
    began = of_training(after).manifest.get("initial_model")
    if not began:
        return []
    model = check_values(ModelConfig, before.config.get("model"))
    is_hub = model.source == "hub"
    asked = before.manifest["decides"]["model"].get("commit") if is_hub else model_fingerprint(model)
    if asked == began:
        return []
    return [f"The training began from another model than {model.path}, which was asked before it."]


def certified_rates(before: EvalRecord, after: EvalRecord) -> list[CertifiedRate]:
    """Every benchmark x attack, the expected benchmarks first; all hazards together, then each, without a p."""
    cells = [{(one.benchmark, one.attack): one for one in side.scores.cells} for side in (before, after)]
    hazards = sorted({one.attempt.item.hazard or OUTSIDE for one in after.outcomes})
    rates = []
    for hazard in [ALL, *hazards]:
        outcomes = [
            [one for one in side.outcomes if hazard in {ALL, one.attempt.item.hazard or OUTSIDE}]
            for side in (before, after)
        ]
        for place in dict.fromkeys(one.cell for side in outcomes for one in side):
            name = "refused" if cells[1][place].metric == "asr" else "complied"
            slices = [one[place].total if hazard == ALL else one[place].by_hazard[hazard] for one in cells]
            answers = [
                {one.attempt.key: (one.attempt.item.id, getattr(one, name)) for one in side if one.cell == place}
                for side in outcomes
            ]
            change = paired_change(answers[:1], answers[1:], after.scores.min_coverage, is_rate=True)
            rates.append(
                CertifiedRate(
                    benchmark=place[0],
                    attack=place[1],
                    hazard=hazard,
                    measure="refused" if name == "refused" else "answered",
                    before=getattr(slices[0], name),
                    after=getattr(slices[1], name),
                    change=change if hazard == ALL else change.model_copy(update={"p": None}),
                )
            )
    changes = with_holm([one.change for one in rates])
    rates = [one.model_copy(update={"change": change}) for one, change in zip(rates, changes, strict=True)]
    names = [*_FIRST, *(one.benchmark for one in rates)]
    return sorted(rates, key=lambda one: names.index(one.benchmark))


def not_tested(before: EvalRecord, after: EvalRecord, rates: Sequence[CertifiedRate]) -> list[str]:
    """A sentence for each thing that a reader may expect and nothing here says."""
    asked, attacks = {one.benchmark for one in rates}, {one.attack for one in rates}
    absent = [name for name, sets in EXPECTED.items() if not asked & set(sets)]
    done = {name.partition(":")[0] for name in attacks}
    others = dict.fromkeys(name for name in (known.partition(":")[0] for known in known_names()) if name not in done)
    few = {
        cell_name(one.benchmark, one.attack): [
            f"{hazard_name(other.hazard)} {other.after.n}"
            for other in rates
            if (other.benchmark, other.attack) == (one.benchmark, one.attack) and other.after.n < LEAST_N
            if other.hazard not in {ALL, OUTSIDE}
        ]
        for one in rates
    }
    pack = load_pack(str(after.config.get("hazards", "builtin"))).hazards
    unasked = [hazard_name(name) for name in pack if name not in {one.hazard for one in rates}]
    return [
        *([f"Benchmarks: {', '.join(absent)}."] if absent else []),
        *([f"Attacks: {', '.join(others)}."] if others else []),
        *([f"Hazards of the case pack without a request: {', '.join(unasked)}."] if unasked else []),
        *(f"{name}, fewer than {LEAST_N} rows scored: {', '.join(some)}." for name, some in few.items() if some),
        *dict.fromkeys(sentence for side in (after, before) for sentence in eval_not_run(side)),
        *missing_kinds([before, after], with_utility=False, with_runs=True),
        *_LIMITS,
    ]


def certificate_page(certificate: Certificate, command: str) -> Document:
    """The page. command: what re-derives it."""
    rates = list(certificate.rates.values())
    whole = [_row(one) for one in rates if one.hazard == ALL]
    said = [*(Text(one, "warning") for one in certificate.warnings), Text(certificate.judge_agreement)]
    before, after = (certificate.facts[side] for side in ("before", "after"))
    facts = [[name, before[name], after[name]] for name in after]
    sections: dict[str, Sequence[Block]] = {
        "Rates": [*said, Text(_RATES, "note"), Table.of("Rates", whole, grouped=True)],
        "By hazard": [Text(_BY_HAZARD, "note"), *_hazards(rates)],
        "Not tested": [Bullets(certificate.not_tested)],
        "What was evaluated": [Table("What was evaluated", ["", "Before", "After"], facts, prose=True)],
        "The judge": judge_blocks(certificate.judge, certificate.judge_card),
        "Hashes": [
            Text("SHA-256 of what the numbers come from; paths from the certificate's folder.", "note"),
            *(_hashes(f"Weights {side}", files) for side, files in certificate.weights.items()),
            _hashes("Files", certificate.files),
            Facts({"Made by": f"cada_trl {certificate.made_by['version']}, {_commit(certificate.made_by.get('git'))}"}),
        ],
        "Check it": [Text(_CHECK), Code(command)],
    }
    shown = [Section(title, blocks, title.lower().replace(" ", "-")) for title, blocks in sections.items()]
    names = Path(certificate.before).name, Path(certificate.after).name
    return Document(f"Certificate: {names[1]} against {names[0]}", shown, certificate.to_json())


def _row(one: CertifiedRate) -> dict[str, Any]:
    return {
        "Benchmark": Cell(benchmark_name(one.benchmark), one.measure),
        "Attack": attack_name(one.attack),
        "Before": measure_cell(one.before),
        "After": measure_cell(one.after),
        "Difference": change_cell(one.change),
        "p (Holm)": p_text(one.change.p, one.change.p_holm),
        "Scored": f"{one.before.n}/{one.before.asked}, {one.after.n}/{one.after.asked}",
    }


def _hazards(rates: Sequence[CertifiedRate]) -> list[Block]:
    blocks: list[Block] = []
    for place in dict.fromkeys((one.benchmark, one.attack) for one in rates):
        title, rows = cell_name(*place), []
        for one in rates:
            if (one.benchmark, one.attack) == place and one.hazard != ALL:
                shown = {"Hazard": hazard_name(one.hazard), **_row(one)}
                cells = {name: shown[name] for name in ("Hazard", "Before", "After", "Difference", "Scored")}
                rows.append(SliceRow(hazard_name(one.hazard), one.after.n, cells))
        tables, small, _ = slice_tables(title, rows)
        blocks += [Heading(title), *tables, *small]
    return blocks


def _hashes(title: str, hashes: Mapping[str, str]) -> Table:
    return Table(title, [title, "SHA-256"], list(map(list, hashes.items())), prose=True)


def _commit(git: Any) -> str:
    return f"commit {git['commit']}{' with local changes' if git['dirty'] else ''}" if git else "outside git"
