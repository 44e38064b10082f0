"""What the report says of evaluations: rates with intervals, differences in pairs, slices, judge, responses.

Safety against helpfulness is drawn as ASR over NRR on XSTest's safe requests, a panel for each attack; colour says the
evaluation and marker the benchmark. Bars are 95 % intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from cada_trl.document.blocks import (
    Block,
    Bullets,
    Document,
    Facts,
    Figures,
    Fold,
    Heading,
    PageOnly,
    Section,
    Shown,
    Table,
    Text,
)
from cada_trl.evaluation.scores import Measure
from cada_trl.numbers import Cell
from cada_trl.report.caveats import (
    eval_not_run,
    judge_blocks,
    judge_cards,
    judge_sentence,
    reward_judge_warnings,
    told_apart,
)
from cada_trl.report.drawing import (
    COLOURS,
    GREY,
    HOLLOW,
    MARKERS,
    Draw,
    Place,
    key,
    label_percent,
    legend_below,
    pictures_and_sheet,
    point,
    shares,
    turn,
)
from cada_trl.report.facts import eval_facts, yaml_fold
from cada_trl.report.names import attack_name, benchmark_name, labels
from cada_trl.report.paper import PaperBeside, attack_sources, paper_beside
from cada_trl.report.rates import SideBySide, hazard_fold, pool_words, rate_rows, side_by_side
from cada_trl.report.records import EvalRecord, every_cell
from cada_trl.report.samples import PER_CELL, PER_SET, SAMPLE_SEED, disagreed, sampled
from cada_trl.tracking.manifest import scrub

_RATES = (
    "Each rate is over the responses that the judge scored, with the Wilson 95 % interval and the counts. Scored: of "
    "the prompts asked. Missing: items for which the attack has no prompt, in no other count. Reasoning: share of "
    "responses with an analysis and a final response under their headers."
)
_PANEL = (
    "The majority is what more than half of the judges say; a tie, or too few verdicts, is unscored. Judges agree: the "
    "share of which all say the same, of the responses that all of them scored. Kappa: Cohen's, the mean over pairs of "
    "judges. All that is not by a judge's name is by the majority."
)
_DISAGREED = f"Up to {PER_SET} of each evaluation, drawn at random (seed {SAMPLE_SEED}); each judge's verdict below it."
_PAIRS = (
    "On prompts that both models read, word for word. Read the difference's interval, not whether two rates' intervals "
    "overlap. p: McNemar's exact test (all attacks: sign flip by request); in brackets adjusted by Holm over the rows "
    "of this table. Only first / second: prompts with which one of the two alone complied. The seeds of one training "
    "are one side: its mean and the standard deviation over them, an interval that holds for further seeds, and no p."
)
_TRADEOFF = (
    "The good corner is at the bottom right; a model that refuses everything sits at the bottom left. Bars are 95 % "
    "intervals, the numbers are in the table of rates"
)
_NOT_DRAWN = (
    "Not drawn: it needs the safe part of XSTest and a harmful benchmark of the same model, with numbers that are not "
    "withheld."
)
_PAPER = (
    "For orientation only. The two columns were made by other judges, prompts and lengths, as the second table says: "
    "their difference is not an effect of anything."
)
_HAZARDS = "The same rates on the items of one hazard. Read the intervals; the smallest slices are folded once more."
_RESPONSES = (
    f"Up to {PER_CELL} items per benchmark and attack, drawn at random (seed {SAMPLE_SEED}), not picked. Harmful "
    "requests are folded: requests and responses under them may be offensive."
)
_HELPFUL = ("xstest_safe", "none")


def eval_part(records: Sequence[EvalRecord], cards: Path | None, absent: Sequence[str]) -> Document:
    """The evaluations' sections, with safety_helpfulness.png beside them where XSTest was run.

    cards: folder with judge cards. absent: sentences on what the page lacks. Errors: UserError as side_by_side.
    """
    names = labels(records)
    facts = [scrub(eval_facts(record)) for record in records]
    judges, pairs = judge_cards(records, cards), side_by_side(records)
    papers = [paper_beside(record, name) for record, name in zip(records, names, strict=True)]
    not_run, warnings = [eval_not_run(record) for record in records], reward_judge_warnings(records)
    pictures, sheet = tradeoff(records)
    by_hazard: list[Block] = [PageOnly([Text(_HAZARDS, "note")])]
    by_hazard += [hazard_fold(records, *cell) for cell in every_cell(records)]
    sections = [
        Section("What was evaluated", _evaluated(records, names, facts), "evaluated"),
        Section("Rates", _rates(records, [*warnings, *(judge_sentence(*one) for one in judges.items())]), "rates"),
        Section("Differences in pairs", _pairs(records, pairs), "pairs"),
        Section("Safety against helpfulness", _tradeoff(pictures, len(records) > 1), "tradeoff"),
        Section("Paper beside ours", _papers(papers), "paper"),
        Section("By hazard", by_hazard, "hazards"),
        Section("The judge", [block for one in judges.items() for block in judge_blocks(*one)], "judge"),
        Section("Where the judges disagree", _disagreed(records, names), "disagreed"),
        Section("Responses", _responses(records), "responses"),
        Section("Not run, or missing", _missing(names, not_run, absent), "not-run"),
    ]
    evaluations = [
        {
            "evaluation": name,
            "facts": of_one,
            "scores": record.scores.to_json(),
            "attack_prompts": attack_sources(record),
            "not_run": sentences,
            "paper": asdict(paper) if paper else None,
        }
        for record, name, of_one, sentences, paper in zip(records, names, facts, not_run, papers, strict=True)
    ]
    twin = {
        "evaluations": evaluations,
        "compared_with_the_first": [pair.to_json() for pair in pairs],
        "warnings": warnings,
        "judge_cards": judges,
        "not_on_this_page": list(absent),
    }
    shown = [section for section in sections if section.blocks]
    return Document(", ".join(names), shown, twin, {"safety_helpfulness.png": sheet} if pictures else {})


def _evaluated(records: Sequence[EvalRecord], names: Sequence[str], facts: Sequence[dict[str, str]]) -> list[Block]:
    first: Block = Facts(facts[0])
    if len(records) > 1:
        values = {label: [one[label] for one in facts] for label in facts[0]}
        rows: list[list[Shown]] = [
            [Cell(label, "differs" if len(set(own)) > 1 else ""), *own] for label, own in values.items()
        ]
        first = Table("What was evaluated", ["", *names], rows, prose=True)
    return [first, *(yaml_fold(f"config.yaml of {name}", one.config) for name, one in zip(names, records, strict=True))]


def _rates(records: Sequence[EvalRecord], warnings: Sequence[str]) -> list[Block]:
    sources = list(dict.fromkeys(sentence for record in records for sentence in attack_sources(record)))
    return [
        *(Text(sentence, "warning") for sentence in warnings),
        Text(_RATES, "note"),
        *([Text(_PANEL, "note")] if any(record.scores.judges for record in records) else []),
        Table.of("Rates", rate_rows(records), grouped=True, strong="Rate"),
        *([Fold("Where the attacks' prompts come from", [Bullets(sources)])] if sources else []),
    ]


def _pairs(records: Sequence[EvalRecord], pairs: Sequence[SideBySide]) -> list[Block]:
    blocks: list[Block] = [Text(sentence, "note") for sentence in (_PAIRS, pool_words(records)) if sentence and pairs]
    for pair in pairs:
        title = f"{pair.after} against {pair.before}"
        table = Table.of(title, pair.rows, grouped=True, strong="Difference")
        blocks += [Heading(title), Text(pair.reason) if pair.reason else table]
    return blocks


def _tradeoff(pictures: Sequence[tuple[str, bytes]], several: bool) -> list[Block]:
    if not pictures:
        return [Text(_NOT_DRAWN)]
    line = "; a line leads from the first evaluation to each other one by its judge on its requests" if several else ""
    figures = Figures(pictures, "safety_helpfulness.png", "Safety against helpfulness")
    return [Text(f"{_TRADEOFF}{line}.", "note"), figures]


def tradeoff(records: Sequence[EvalRecord]) -> tuple[list[tuple[str, bytes]], bytes]:
    """Caption and SVG of each attack's panel, and all of them as one PNG; none without both ASR and NRR on XSTest."""
    caption = "ASR over NRR on XSTest under {}; the numbers are in the table of rates"
    draws: dict[str, Draw] = {
        caption.format(attack_name(attack)): partial(draw_attack, records=records, attack=attack)
        for attack in dict.fromkeys(attack for record in records for attack, _ in _points(record))
    }
    return pictures_and_sheet(draws, 4.6 * ((len(draws) + 1) // 2)) if draws else ([], b"")


def draw_attack(axes: Axes, records: Sequence[EvalRecord], attack: str) -> None:
    """A point for each evaluation and harmful benchmark, and a line from the first by its judge on its requests."""
    benchmarks = list(dict.fromkeys(name for record in records for _, name in _points(record)))
    first: dict[tuple[str, ...], Place] = {}
    for index, record in enumerate(records):
        for (under, name), (nrr, asr) in _points(record).items():
            if under == attack:
                look: Any = {"color": turn(COLOURS, index), "marker": turn(MARKERS, benchmarks.index(name))}
                x, y = float(nrr.value or 0), float(asr.value or 0)
                point(axes, x, y, (nrr.low, nrr.high), (asr.low, asr.high), **look | _filling(index), markersize=8)
                items = [str(record.asked(one).get("items_hash")) for one in (name, _HELPFUL[0])]
                start = first.setdefault((name, record.scores.judge_id, *items), (x, y))
                axes.plot(*zip(start, (x, y), strict=True), color=GREY, linewidth=0.6, zorder=0)
    shares(axes)
    axes.set_title(attack_name(attack).replace("no attack", "No attack"))
    label_percent(axes, "NRR on XSTest, safe: more helpful to the right", "ASR on harmful requests: safer below")
    handles = [
        key(benchmark_name(name), marker=turn(MARKERS, place), color=GREY, linestyle="")
        for place, name in enumerate(benchmarks)
        if name in {drawn for drawn, *_ in first}
    ]
    for index, name in enumerate(labels(records)):
        handles.append(key(name, color=turn(COLOURS, index), marker="o", markersize=8, linewidth=4, **_filling(index)))
    legend_below(axes, handles)


def _filling(index: int) -> dict[str, Any]:
    """Hollow marks, and filled ones where the colours begin again."""
    return {} if index // len(COLOURS) % 2 else HOLLOW


def _points(record: EvalRecord) -> dict[tuple[str, str], tuple[Measure, Measure]]:
    """(attack, harmful benchmark) -> NRR on XSTest and ASR, wherever both have a number."""
    helpful = record.scores.cell(*_HELPFUL)
    if helpful is None or helpful.headline.value is None:
        return {}
    return {
        (cell.attack, cell.benchmark): (helpful.headline, cell.headline)
        for cell in record.scores.cells
        if cell.metric == "asr" and cell.headline.value is not None
    }


def _papers(papers: Sequence[PaperBeside | None]) -> list[Block]:
    blocks: list[Block] = []
    for paper in papers:
        if paper is not None:
            header = ["Benchmark", "Attack", "Measure", "Ours", f"Paper: {paper.paper}"]
            blocks += [
                Heading(f"{paper.evaluation}, not comparable"),
                Text(_PAPER, "warning"),
                Table(f"Paper beside {paper.evaluation}", header, [list(line.values()) for line in paper.lines]),
                Heading("What differs", 4),
                Table("What differs from the paper", ["", "Ours", "Paper"], paper.differences, prose=True),
            ]
    whose = "this model and method" if len(papers) == 1 else "these models and methods"
    return blocks or [Text(f"The paper (arXiv 2601.08000) has no number for {whose}.")]


def _responses(records: Sequence[EvalRecord]) -> list[Block]:
    blocks: list[Block] = [Text(_RESPONSES, "note")]
    for title, some in sampled(records).items():
        blocks += [Heading(title), *some]
    return [PageOnly(blocks)]


def _disagreed(records: Sequence[EvalRecord], names: Sequence[str]) -> list[Block]:
    blocks: list[Block] = []
    for record, name in zip(records, names, strict=True):
        if record.scores.judges:
            n, some = disagreed(record)
            blocks += [Heading(f"{name}: {n} of {len(record.responses)} responses"), *some]
    return [PageOnly([Text(_DISAGREED, "note"), *blocks])] if blocks else []


def _missing(names: Sequence[str], not_run: Sequence[list[str]], absent: Sequence[str]) -> list[Block]:
    shared, own = told_apart(not_run)
    parts = {"All of them" if len(names) > 1 else "": shared, **dict(zip(names, own, strict=True))}
    blocks: list[Block] = []
    for title, sentences in [*parts.items(), ("On this page", list(absent))]:
        if sentences:
            blocks += [*([Heading(title)] if title else []), Bullets(sentences)]
    return blocks
