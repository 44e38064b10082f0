"""From a configuration to the parts of the request set, with every count on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.data.beavertails import read_beavertails
from cada_trl.data.benchmarks import read_benchmarks, read_xstest_safe
from cada_trl.data.decontaminate import find_overlaps, report
from cada_trl.data.funnel import Funnel, kind
from cada_trl.data.labelled_rows import read_own_rows, read_starter
from cada_trl.data.lexical import NO_HAZARD, Classification, classify, load_lexicon
from cada_trl.data.llm_classifier import classify_with_llm
from cada_trl.data.near_duplicates import near_duplicates
from cada_trl.data.normalise import text_hash
from cada_trl.data.rows import Row, Source, unique_rows
from cada_trl.data.split import split_harmful, split_harmless
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.records import Request

Decision = dict[str, Any]  # text, labels, hazard, reason


@dataclass(frozen=True)
class RequestSet:
    """Part name -> requests, the classifier's decisions with their reasons, and the facts for the manifest."""

    parts: dict[str, list[Request]]
    decisions: list[Decision]
    facts: dict[str, Any]


def build_request_set(config: Config, pack: HazardPack, count_tok: Callable[[str], int]) -> RequestSet:
    """Read, deduplicate, decontaminate, classify and split (paper, Data; every filter beyond is_safe is ours).

    count_tok: text -> tokens. Errors: UserError, see the steps.
    """
    data = config.data
    _check_held_out(data.held_out_hazards, pack)
    sources = _read(config, pack)
    funnel = Funnel(sources)
    rows = _distinct(funnel, [row for source in sources for row in source.rows], data.near_duplicate_jaccard)
    rows = funnel.keep(rows, lambda row: "too_long" if count_tok(row.text) > data.max_prompt_tok else None)
    benchmarks = read_benchmarks(Path(data.benchmarks_dir)) if data.benchmarks_dir else {}
    keys = [row.key for row in rows]
    overlaps = find_overlaps(keys, benchmarks, data.decontaminate_n_gram, data.near_duplicate_jaccard)
    rows = funnel.keep(rows, lambda row: "in_a_benchmark" if row.key in overlaps else None)
    rows, decisions = _classified(funnel, rows, config, pack)
    requests = [_request(row) for row in rows]
    parts = _split(requests, config)
    facts = {
        "sources": [source.origin for source in sources],
        "funnel": funnel.as_dict(),
        "kept_per_hazard": _per_hazard([request for request in requests if request.harmful]),
        "split": {name: {"n": len(part), "hazards": _per_hazard(part)} for name, part in parts.items()},
        "decontamination": report(overlaps, benchmarks),
    }
    return RequestSet(parts, decisions, facts)


def _check_held_out(held_out: list[str], pack: HazardPack) -> None:
    for hazard in held_out:
        if hazard not in pack.hazards:
            raise UserError(
                f"held_out_hazards: {hazard!r} is not in the pack; expected one of: {', '.join(pack.hazards)}"
            )


def _read(config: Config, pack: HazardPack) -> list[Source]:
    """The source of the harmful requests, and the starter set for the harmless look-alikes."""
    starter = read_starter()
    if config.data.dataset == "starter":
        return [starter]
    look_alikes = replace(starter, rows=[row for row in starter.rows if not row.harmful])
    if config.data.dataset == "jsonl":
        return [read_own_rows(config.data, pack.hazards), look_alikes]
    return [read_beavertails(config.data), look_alikes]


def _distinct(funnel: Funnel, rows: list[Row], min_jaccard: float) -> list[Row]:
    """Rows that hold words, one a text, none like another."""
    rows = funnel.keep(rows, lambda row: None if row.key else "no_words")
    unique = unique_rows(rows)
    for row in rows:
        funnel.dropped[kind(row)]["exact_duplicate"] += 1
    for row in unique:
        funnel.dropped[kind(row)]["exact_duplicate"] -= 1
    twins = {unique[i].key for i in near_duplicates([row.key for row in unique], min_jaccard)}
    return funnel.keep(unique, lambda row: "near_duplicate" if row.key in twins else None)


def _classified(funnel: Funnel, rows: list[Row], config: Config, pack: HazardPack) -> tuple[list[Row], list[Decision]]:
    """Rows with a hazard of the pack, rows that named none classified first; and the classifier's decisions."""
    unnamed = [row for row in rows if row.hazard is None]
    answers = dict(zip((row.key for row in unnamed), _classify(unnamed, config, pack), strict=True))
    rows = [replace(row, hazard=answers[row.key].hazard) if row.key in answers else row for row in rows]

    def reason_to_drop(row: Row) -> str | None:
        if row.hazard in pack.hazards:
            return None
        return f"classified_{row.hazard}" if row.hazard in NO_HAZARD else "hazard_not_in_pack"

    decisions = [{"text": row.text, "labels": list(row.labels), **asdict(answers[row.key])} for row in unnamed]
    return funnel.keep(rows, reason_to_drop), decisions


def _classify(rows: list[Row], config: Config, pack: HazardPack) -> list[Classification]:
    if config.data.classifier == "llm" and rows:
        return classify_with_llm([row.text for row in rows], pack, config.judge, Path(config.data_dir) / "classified")
    lexicon = load_lexicon()
    return [classify(row.text, row.labels, lexicon) for row in rows]


def _request(row: Row) -> Request:
    return Request(
        row.id or f"{row.source.split(':')[0]}-{text_hash(row.text)[:12]}",
        row.text,
        str(row.hazard),
        row.harmful,
        row.source,
    )


def _split(requests: list[Request], config: Config) -> dict[str, list[Request]]:
    data = config.data
    harmful, harmless = ([r for r in requests if r.harmful], [r for r in requests if not r.harmful])
    split = split_harmful(harmful, data, config.seed)
    benign_train, harmless_probe = split_harmless(harmless, data.held_out_hazards, config.seed)
    return {
        "train": split.train,
        "probe": split.probe,
        "held_out": split.held_out,
        "benign_train": benign_train,
        "harmless_probe": harmless_probe,
        "xstest_safe_probe": read_xstest_safe(Path(data.benchmarks_dir)) if data.benchmarks_dir else [],
    }


def _per_hazard(requests: list[Request]) -> dict[str, int]:
    return dict(sorted(Counter(request.hazard for request in requests).items()))
