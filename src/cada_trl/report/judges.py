"""How far the judges can be trusted: their agreement with people, and whether one judged what it had paid for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cada_trl.document.blocks import Block, Fold, Table, Text
from cada_trl.errors import UserError
from cada_trl.judging.card import find_card, headline
from cada_trl.judging.from_config import split_sees
from cada_trl.numbers import RATE, SCORE, Cell
from cada_trl.report.eval_record import EvalRecord
from cada_trl.storage.files import read_json

_COLUMNS = ("accuracy", "precision", "recall")
_SHOWN = {
    "completion": "the analysis beside the final response",
    "completion_and_prompt": "the analysis beside the final response, and the attack's prompt in place of the request",
}


class KnownJudge(NamedTuple):
    """card: None where the judge was never measured, as `sentence` then says."""

    judge: str
    sentence: str
    card: dict[str, Any] | None


def judge_cards(records: Sequence[EvalRecord], folder: Path | None) -> list[KnownJudge]:
    """A card for each judge of the evaluations. folder: where cards were kept, beside the one that the package has.

    A judge that saw more than the final response has that of the same judge on final responses, and says so: people
    labelled whole responses to the raw request, so there is no other card.
    """
    return [_known(judge, folder) for judge in dict.fromkeys(one.scores.judge_id for one in records)]


def _known(judge: str, folder: Path | None) -> KnownJudge:
    own, sees = split_sees(judge)
    card = find_card(own, folder)
    if card is None:
        sentence = (
            f"The agreement of the judge {own} with people was never measured here: read its verdicts as unverified, "
            "and measure it with python -m cada_trl.judging.calibrate."
        )
        return KnownJudge(judge, sentence + _difference(sees), None)
    return KnownJudge(judge, headline(card) + _difference(sees), card)


def _difference(sees: str) -> str:
    """What sets this evaluation's judge apart from the one that the card is about."""
    if sees == "final_response":
        return ""
    return (
        f" Here it saw other texts than there (judge_sees={sees}: {_SHOWN[sees]}); its agreement with people on these "
        "was not measured and may be lower."
    )


def judge_blocks(known: KnownJudge) -> list[Block]:
    """What is known of one judge: a row for each set of responses that people labelled, and by kind of request."""
    blocks: list[Block] = [Text(known.sentence)]
    if known.card is not None:
        blocks.append(_table(f"{known.judge} against people", known.card["sets"]))
        for name, rows in known.card["groups"].items():
            blocks.append(Fold(f"By kind of request: {name}", [_table(name, rows)]))
    return blocks


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    header = ["Responses", "Label", "n", *(column.capitalize() for column in _COLUMNS), "Kappa"]
    cells = [
        [row["name"], row["label"], str(row["n"]), *(_rate(row, name) for name in _COLUMNS), SCORE.text(row["kappa"])]
        for row in rows
    ]
    return Table(title, header, cells)


def _rate(row: dict[str, Any], name: str) -> Cell:
    low, high = row[f"{name}_interval"] or (None, None)
    return RATE.cell(row[name], low, high, f"n {row[f'{name}_n']}")


def judge_note(summary: dict[str, Any]) -> str:
    """Who judged, and the warning that a policy may have learned its own judge (design: What is easy to get wrong)."""
    reward, probe = summary["judge_id"], summary["probe_judge_id"]
    if reward is None or probe is None:
        return "The manifest does not name the judge: read every verdict below as unverified."
    if reward != probe:
        return f"The reward was paid by the judge {reward}; the probes below were judged by another one, {probe}."
    return (
        f"Warning: the judge {reward} paid the reward and also judged the probes below. A policy can learn what its "
        "judge looks for, so a gain here is not yet evidence of safety: judge the completions again with another judge."
    )


def reward_judge_warnings(records: Sequence[EvalRecord]) -> list[str]:
    """A sentence for each judge that also paid the reward of a model it judged (design: What is easy to get wrong)."""
    own = [record for record in records if _reward_judge(record) == record.scores.judge_id]
    return [
        f"Warning: the judge {judge} also paid the reward in the training of "
        f"{', '.join(record.name for record in own if record.scores.judge_id == judge)}. A policy can learn what its "
        "judge looks for: judge the same responses by another one before a gain counts as evidence of safety."
        for judge in dict.fromkeys(record.scores.judge_id for record in own)
    ]


def _reward_judge(record: EvalRecord) -> str | None:
    """judge_id of the run whose final/ was evaluated; None where no run stands beside the weights."""
    model = record.config.get("model") or {}
    if model.get("source") != "folder":
        return None
    try:
        judge = read_json(Path(str(model.get("path"))).parent / "manifest.json").get("judge_id")
    except UserError:
        return None
    return judge if isinstance(judge, str) else None
