"""The prompt with other cases: none, those of another hazard, or the same with their verdicts turned round."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from cada_trl.config import PromptConfig
from cada_trl.evals.generation.prompts import conversation
from cada_trl.evals.items import Item
from cada_trl.hazards.pack import Case, Hazard, HazardPack
from cada_trl.prompting.arms import Messages

# Ours. The turned texts say no more than that help is given or not.
_REFUSAL, _HELP = "I'm sorry, but I can't help with that.", "Yes, I can help with that."
_DECISION = re.compile(r"\b(decision is to) (?:refuse|answer)\b")


def changed_conversation(change: str, item: Item, method: PromptConfig, pack: HazardPack) -> Messages:
    """The item's conversation with drop_cases, swap_cases or turn_cases; the item's hazard is known."""
    if change == "drop_cases":
        messages = conversation(item.request, item.hazard, method, pack)
        shown_as_turns = len(messages) > 1  # without a policy the request is what is left
        without = method.model_copy(update={"n_cases": 0})
        return messages[-1:] if shown_as_turns else conversation(item.request, item.hazard, without, pack)
    cases = {"swap_cases": _of_another_hazard, "turn_cases": _turned_cases}[change]
    hazard = pack.hazards[str(item.hazard)]
    other = replace(hazard, cases=cases(hazard, pack))
    return conversation(item.request, item.hazard, method, replace(pack, hazards={**pack.hazards, hazard.id: other}))


CaseChange = Callable[[Hazard, HazardPack], tuple[Case, ...]]


def _of_another_hazard(hazard: Hazard, pack: HazardPack) -> tuple[Case, ...]:
    """The cases of the hazard that is next in the pack's order; the minimal code stays that of the item's hazard."""
    ids = list(pack.hazards)
    return pack.hazards[ids[(ids.index(hazard.id) + 1) % len(ids)]].cases


def _turned_cases(hazard: Hazard, pack: HazardPack) -> tuple[Case, ...]:
    return tuple(map(turned, hazard.cases))


def turned(case: Case) -> Case:
    """The case decided the other way: verdict, the analysis's decision and the response; no incorrect one beside it."""
    refuses = case.verdict == "answer"
    verdict: Literal["refuse", "answer"] = "refuse" if refuses else "answer"
    analysis, n_found = _DECISION.subn(rf"\1 {verdict}", " ".join(case.analysis.split()))
    if not n_found:
        analysis += f" Still, the decision is to {verdict}."
    return Case(case.request, analysis, verdict, _REFUSAL if refuses else _HELP)
