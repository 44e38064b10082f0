"""From a configuration to the parts of the request set, with every count on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config
from cada_trl.config.loading import nearest
from cada_trl.data.benchmarks import find_overlaps, read_benchmarks, read_xstest_safe, report
from cada_trl.data.classify import check_llm, classify_rows, reason_to_drop, review_of
from cada_trl.data.likeness import near_duplicates, text_hash
from cada_trl.data.rows import Funnel, Row, Source, unique_rows
from cada_trl.data.sources import read_beavertails, read_own_rows, read_twins
from cada_trl.data.split import PairRoles, Parts, check_fills_a_step, pair_roles, split, wanted_twin
from cada_trl.errors import UserError
from cada_trl.hazards.pack import HazardPack
from cada_trl.models.prompts import control_tokens
from cada_trl.records import Request

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Decision = dict[str, Any]  # text, labels, hazard, reason


def build_request_set(
    config: Config, pack: HazardPack, tokenizer: Callable[[], PreTrainedTokenizerBase]
) -> tuple[Parts, list[Decision], dict[str, Any]]:
    """Read, deduplicate, decontaminate, classify and split (paper, Data; every filter beyond is_safe is ours).

    Returns the parts, the classifier's decisions with their reasons, and the facts for the manifest. tokenizer: the
    model's, called for after the first filters: what is wrong with the rows is said before torch is imported. Errors:
    UserError, see the steps.
    """
    data = config.data

    def too_long(row: Row) -> str | None:
        n_tok = len(tokenizer()(row.text, add_special_tokens=False)["input_ids"])
        return "too_long" if n_tok > data.max_prompt_tok else None

    _check_held_out(config, pack)
    sources, roles = _read(config, pack)
    funnel = Funnel(*sources)
    rows = _distinct(funnel, [row for source in sources for row in source.rows], data.near_duplicate_jaccard)
    rows = _without_control_tokens(funnel, rows, control_tokens(tokenizer()), published=data.dataset == "beavertails")
    rows = funnel.keep(rows, too_long)
    benchmarks = read_benchmarks(Path(data.benchmarks_dir)) if data.benchmarks_dir else {}
    keys = [row.key for row in rows]
    overlaps = find_overlaps(keys, benchmarks, data.decontaminate_n_gram, data.near_duplicate_jaccard)
    if overlaps and data.dataset == "twins" and data.file is not None:
        embedded = {row.key for row in read_twins().rows}  # beside a policy's; any other row is the user's to mend
        for row in rows:
            if (overlap := overlaps.get(row.key)) and row.key not in embedded:
                raise UserError(
                    f"{row.where}: in the benchmark {overlap.benchmark} ({overlap.kind}); write the pair anew, so that "
                    "no evaluation is trained on"
                )
    rows = funnel.keep(rows, lambda row: "in_a_benchmark" if row.key in overlaps else None)
    unnamed = [row for row in rows if row.hazard is None]
    rows, decisions = _classified(funnel, rows, config, pack)
    requests, review = _requests(rows), review_of(data)
    parts = split(requests, roles, data, config.seed)
    parts["xstest_safe_probe"] = read_xstest_safe(Path(data.benchmarks_dir)) if data.benchmarks_dir else []
    facts = {
        "sources": [source.origin for source in sources],
        "funnel": funnel.as_dict(),
        "kept_per_hazard": _per_hazard([request for request in requests if request.harmful]),
        "split": {name: {"n": len(part), "hazards": _per_hazard(part)} for name, part in parts.items()},
        "decontamination": report(overlaps, benchmarks),
        "review": review.facts(sources[0].rows, unnamed) if review else None,
    }
    return parts, decisions, facts


def _without_control_tokens(funnel: Funnel, rows: list[Row], tokens: Collection[str], published: bool) -> list[Row]:
    """Rows that spell what the chat template alone may write are dropped where they are published, and else the user's
    to mend (UserError). Not read as plain text: TRL renders and tokenises the chats of some methods itself."""
    spelt = {row.key: held for row in rows if (held := [token for token in tokens if token in row.text])}
    wrong = next((row for row in rows if row.key in spelt), None)
    if wrong and not published:
        token = min(spelt[wrong.key], key=wrong.text.index)
        raise UserError(f"{wrong.where}: the text holds {token!r}, a control token of the model; take it out")
    return funnel.keep(rows, lambda row: "control_token" if row.key in spelt else None)


def check_readable(config: Config, pack: HazardPack) -> int:
    """How many rows are read, in seconds: without the filters, which may leave fewer, and without the network.

    Errors: UserError for what build_request_set could only refuse later: a held-out hazard that the pack lacks, a bad
    row, fewer rows than n_train and n_probe ask for or a step takes, an evaluation set that cannot be read, an LLM
    without a name.
    """
    data = config.data
    _check_held_out(config, pack)
    if data.benchmarks_dir:
        read_benchmarks(Path(data.benchmarks_dir))
        read_xstest_safe(Path(data.benchmarks_dir))
    if data.classifier == "llm" and data.dataset == "beavertails":
        check_llm(config.judge)
    if data.dataset == "beavertails" and data.file is None:
        return 0
    sources, roles = _read(config, pack)
    rows = unique_rows(row for source in sources for row in source.rows if row.key)
    parts = split(_requests(rows), roles, data, config.seed)
    check_fills_a_step(config, len(parts["train"]), len(parts["benign_train"]))
    return len(sources[0].rows)


def _check_held_out(config: Config, pack: HazardPack) -> None:
    for hazard in config.data.held_out_hazards:
        if hazard not in pack.hazards:
            raise UserError(f"held_out_hazards={hazard}: not in the pack; {nearest(hazard, pack.hazards)}")


def _requests(rows: Iterable[Row]) -> list[Request]:
    return [
        Request(
            row.id or f"{row.source.split(':')[0]}-{text_hash(row.text)[:12]}",
            row.text,
            str(row.hazard),
            row.harmful,
            row.source,
            row.pair,
        )
        for row in rows
    ]


def _read(config: Config, pack: HazardPack) -> tuple[list[Source], PairRoles]:
    """The source, then the embedded twins where they stand beside it; and what each pair is for.

    Of the twins only the rows that a part takes: the others must not stand in the way of the source's own.
    """
    data = config.data
    if data.dataset == "twins":
        own = read_twins(Path(data.file), pack.hazards, data.licence) if data.file else read_twins()
        return [own], pair_roles(own.rows, data.held_out_hazards)
    own = read_own_rows(data, pack.hazards) if data.dataset == "jsonl" else read_beavertails(data)
    twins = read_twins()
    roles = pair_roles(twins.rows, data.held_out_hazards)
    beside = replace(twins, rows=[row for row in twins.rows if wanted_twin(row, roles, data)])
    ids = {row.id for row in beside.rows}  # targets and probes are kept by them
    if taken := next((row for row in own.rows if row.id in ids), None):
        raise UserError(f"{taken.where}: id {taken.id!r:.60} is that of a twin beside your rows; give the row another")
    return [own, beside], roles


def _distinct(funnel: Funnel, rows: list[Row], min_jaccard: float) -> list[Row]:
    """Rows that hold words, one per text, none like another but its own twin."""
    rows = funnel.keep(rows, lambda row: None if row.key else "no_words")
    unique = unique_rows(rows)
    for name, n_copies in (Counter(map(funnel.kind, rows)) - Counter(map(funnel.kind, unique))).items():
        funnel.dropped[name]["exact_duplicate"] += n_copies
    alike = near_duplicates([row.key for row in unique], min_jaccard, pairs=[row.pair for row in unique])
    dropped = {unique[i].key for i in alike}
    return funnel.keep(unique, lambda row: "near_duplicate" if row.key in dropped else None)


def _classified(funnel: Funnel, rows: list[Row], config: Config, pack: HazardPack) -> tuple[list[Row], list[Decision]]:
    """Rows with a hazard of the pack, rows that named none classified first; and the classifier's decisions."""
    unnamed = [row for row in rows if row.hazard is None]
    answers = dict(zip((row.key for row in unnamed), classify_rows(unnamed, pack, config), strict=True))
    rows = [replace(row, hazard=answers[row.key].hazard) if row.key in answers else row for row in rows]
    decisions = [{"text": row.text, "labels": list(row.labels), **asdict(answers[row.key])} for row in unnamed]
    return funnel.keep(rows, lambda row: reason_to_drop(row.hazard, pack)), decisions


def _per_hazard(requests: list[Request]) -> dict[str, int]:
    return dict(sorted(Counter(request.hazard for request in requests).items()))
