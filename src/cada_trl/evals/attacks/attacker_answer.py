"""An attacker's answer: the prompt between its tags, or why there is none."""

from __future__ import annotations

import re

from cada_trl.judging.endpoint import Answer
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict

DECLINED = "DECLINED"  # the word by which the instructions let an attacker refuse
REFUSED = "the attacker refused"


def read_answer(answer: Answer, tag: str) -> tuple[str, str]:
    """(what stands in the last <tag>, "") or ("", why there is nothing to send).

    A refusal between the tags is one too, by the phrase judge. It calls about 0.2 % of the published PAIR and PAP
    prompts for StrongREJECT and AdvBench refusals (4 of 1666): so many good rewrites are lost, and counted as missing.
    """
    if answer.text is None:
        return "", answer.reason
    text = tagged(answer.text, tag)
    phrases = PhraseJudge().judge([("", text or answer.text)])[0].verdict
    if phrases is Verdict.REFUSED or DECLINED in answer.text:
        return "", REFUSED
    return text, "" if text else f"the attacker's answer holds no complete text between <{tag}> and </{tag}>"


def tagged(text: str, tag: str) -> str:
    """What stands between the last <tag> and its </tag>; "" without the pair, as in an answer that was cut off."""
    found = re.findall(rf"<{tag}>((?:(?!<{tag}>).)*?)</{tag}>", text, re.DOTALL | re.IGNORECASE)
    return found[-1].strip() if found else ""
