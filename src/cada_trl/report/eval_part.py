"""What the report says of evaluations: rates with intervals, differences in pairs, slices, judge, responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from cada_trl.document.blocks import (
    Block,
    Bullets,
    Code,
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
from cada_trl.numbers import Cell
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.facts import eval_facts
from cada_trl.report.judges import judge_blocks, judge_cards, reward_judge_warnings
from cada_trl.report.names import attack_name, labels
from cada_trl.report.not_run import eval_not_run
from cada_trl.report.pairs import SideBySide, pool_words, side_by_side
from cada_trl.report.paper import PaperBeside, attack_sources, paper_beside
from cada_trl.report.rates import HazardTable, folded_words, hazard_tables, headline_rows
from cada_trl.report.samples import PER_CELL, SAMPLE_SEED, sampled
from cada_trl.report.tradeoff import attacks_shown, tradeoff_png, tradeoff_svg
from cada_trl.tracking.manifest import scrub

_RATES = (
    "Each rate is over the responses that the judge scored, with the Wilson 95 % interval and the counts. Scored: of "
    "the prompts asked. Missing: items for which the attack has no prompt, in no other count. Reasoning: share of "
    "responses with an analysis and a final response under their headers."
)
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


def eval_part(records: Sequence[EvalRecord], cards: Path | None, absent: Sequence[str]) -> Document:
    """The evaluations' sections, with safety_helpfulness.png beside them where XSTest was run.

    cards: folder with judge cards. absent: sentences on what the page lacks. Errors: UserError as side_by_side.
    """
    names = labels(records)
    facts = [scrub(eval_facts(record)) for record in records]
    judges, pairs = judge_cards(records, cards), side_by_side(records)
    papers = [paper_beside(record, name) for record, name in zip(records, names, strict=True)]
    not_run = [eval_not_run(record) for record in records]
    warnings, attacks = reward_judge_warnings(records), attacks_shown(records)
    sections = [
        Section("What was evaluated", _evaluated(records, names, facts), "evaluated"),
        Section("Rates", _rates(records, [*warnings, *(card.sentence for card in judges)]), "rates"),
        *([Section("Differences in pairs", _pairs(records, pairs), "pairs")] if pairs else []),
        Section("Safety against helpfulness", _tradeoff(records, attacks), "tradeoff"),
        Section("Paper beside ours", _papers(papers), "paper"),
        Section("By hazard", _hazards(names, hazard_tables(records)), "hazards"),
        Section("The judge", [block for card in judges for block in judge_blocks(card)], "judge"),
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
        "judge_cards": {card.judge: card.card for card in judges},
        "not_on_this_page": list(absent),
    }
    images = {"safety_helpfulness.png": tradeoff_png(records)} if attacks else {}
    return Document(", ".join(names), sections, twin, images)


def _evaluated(records: Sequence[EvalRecord], names: Sequence[str], facts: Sequence[dict[str, str]]) -> list[Block]:
    blocks: list[Block] = [Facts(facts[0])]
    if len(records) > 1:
        values = {label: [one[label] for one in facts] for label in facts[0]}
        rows: list[list[Shown]] = [
            [Cell(label, "differs" if len(set(own)) > 1 else ""), *own] for label, own in values.items()
        ]
        blocks = [Table("What was evaluated", ["", *names], rows, prose=True)]
    configs = [yaml.safe_dump(scrub(one.config), sort_keys=False, allow_unicode=True) for one in records]
    return blocks + [Fold(f"config.yaml of {name}", [Code(one)]) for name, one in zip(names, configs, strict=True)]


def _rates(records: Sequence[EvalRecord], warnings: Sequence[str]) -> list[Block]:
    rows = headline_rows(records)
    several = len(records) > 1
    header = ["Benchmark", "Attack", *(["Evaluation"] if several else []), "Rate", "Scored", "Missing", "Reasoning"]
    header += ["Truncated", *(words.capitalize() for words in (rows[0].optional if rows else ()))]
    cells: list[list[Shown]] = [
        [
            Cell(row.benchmark, row.metric),
            Cell(row.attack, "transfer" if row.transfer else ""),
            *([row.evaluation] if several else []),
            *(row.rate, row.coverage, row.missing, row.reasoning, row.truncated),
            *row.optional.values(),
        ]
        for row in rows
    ]
    sources = list(dict.fromkeys(sentence for record in records for sentence in attack_sources(record)))
    return [
        *(Text(sentence, "warning") for sentence in warnings),
        Text(_RATES, "note"),
        Table("Rates", header, cells, grouped=True, strong="Rate"),
        *([Fold("Where the attacks' prompts come from", [Bullets(sources)])] if sources else []),
    ]


def _pairs(records: Sequence[EvalRecord], pairs: Sequence[SideBySide]) -> list[Block]:
    pool = pool_words(records)
    blocks: list[Block] = [Text(_PAIRS, "note"), *([Text(pool, "note")] if pool else [])]
    for pair in pairs:
        title = f"{pair.after} against {pair.before}"
        header = ["Benchmark", "Attack", pair.before, pair.after, "Difference", "Only first / second", "p (Holm)"]
        table = Table(title, [*header, "Reading", "Reasoning"], pair.rows, grouped=True, strong="Difference")
        blocks += [Heading(title), Text(pair.reason) if pair.reason else table]
    return blocks


def _tradeoff(records: Sequence[EvalRecord], attacks: Sequence[str]) -> list[Block]:
    if not attacks:
        return [Text(_NOT_DRAWN)]
    line = "; a line leads from the first evaluation to each other one" if len(records) > 1 else ""
    caption = "ASR over NRR on XSTest under {}; the numbers are in the table of rates"
    pictures = [(caption.format(attack_name(attack)), tradeoff_svg(records, attack)) for attack in attacks]
    figures = Figures(pictures, "safety_helpfulness.png", "Safety against helpfulness")
    return [Text(f"{_TRADEOFF}{line}.", "note"), figures]


def _papers(papers: Sequence[PaperBeside | None]) -> list[Block]:
    blocks: list[Block] = []
    for paper in papers:
        if paper is not None:
            header = ["Benchmark", "Attack", "Measure", "Ours", f"Paper: {paper.paper}"]
            rows: list[list[Shown]] = [
                [line.benchmark, line.attack, line.measure, line.ours, line.paper] for line in paper.lines
            ]
            blocks += [
                Heading(f"{paper.evaluation}, not comparable"),
                Text(_PAPER, "warning"),
                Table(f"Paper beside {paper.evaluation}", header, rows),
                Heading("What differs", 4),
                Table("What differs from the paper", ["", "Ours", "Paper"], paper.differences, prose=True),
            ]
    whose = "this model and method" if len(papers) == 1 else "these models and methods"
    return blocks or [Text(f"The paper (arXiv 2601.08000) has no number for {whose}.")]


def _hazards(names: Sequence[str], tables: Sequence[HazardTable]) -> list[Block]:
    blocks: list[Block] = [PageOnly([Text(_HAZARDS, "note")])]
    for table in tables:
        inside: list[Block] = []
        if table.rows:
            inside.append(Table(f"{table.title} by hazard", ["Hazard", *names], _hazard_rows(table.rows)))
        if table.folded:
            small = Table(f"{table.title}, small slices by hazard", ["Hazard", *names], _hazard_rows(table.folded))
            inside.append(Fold(folded_words(len(table.folded)), [small]))
        blocks.append(Fold(f"{table.title}: {table.metric}", inside, [Text(table.brief)] if table.brief else []))
    return blocks


def _hazard_rows(rows: Sequence[tuple[str, list[Cell]]]) -> list[list[Shown]]:
    return [[hazard, *cells] for hazard, cells in rows]


def _responses(records: Sequence[EvalRecord]) -> list[Block]:
    blocks: list[Block] = [Text(_RESPONSES, "note")]
    for title, some in sampled(records).items():
        blocks += [Heading(title), *(sample.exchange() for sample in some)]
    return [PageOnly(blocks)]


def _missing(names: Sequence[str], not_run: Sequence[list[str]], absent: Sequence[str]) -> list[Block]:
    shared = [sentence for sentence in not_run[0] if all(sentence in other for other in not_run)]
    parts: dict[str, list[str]] = {"All of them" if len(names) > 1 else "": shared}
    parts |= {name: [one for one in own if one not in shared] for name, own in zip(names, not_run, strict=True)}
    blocks: list[Block] = []
    for title, sentences in [*parts.items(), ("On this page", list(absent))]:
        if sentences:
            blocks += [*([Heading(title)] if title else []), Bullets(sentences)]
    return blocks
