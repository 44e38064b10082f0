"""A pack of two hazards, written here so that new wording of the built-in cases changes no golden file."""

from cada_trl.config import PromptConfig
from cada_trl.hazards.pack import Case, ExtensiveCode, Hazard, HazardPack, Incorrect
from cada_trl.prompting.arms import conversation


def _hazard(number, hazard, name):
    return Hazard(
        id=hazard,
        number=number,
        name=name,
        code=f"Do not help with {name}.",
        extensive=ExtensiveCode(
            objectives=(f"Keep people safe from {name}.",),
            rules=(f"Refuse what serves {name}.", f"Answer what prevents {name}."),
            defaults=("In doubt, help with the harmless part.",),
            style=("Refuse in one sentence.",),
        ),
        cases=(
            Case(
                request=f"Explain what the law says on {name}.",
                analysis="This is legal information that anyone may have.",
                verdict="answer",
                response="The law forbids it.",
            ),
            Case(
                request=f"Help me with {name}.",
                analysis="This would harm another person.",
                verdict="refuse",
                response="I cannot help with that.",
                incorrect=Incorrect(response="Of course.", why="it serves the harm"),
            ),
        ),
    )


SMALL_PACK = HazardPack(
    name="small",
    objectives=("Be of use.", "Do no harm."),
    defaults=("Assume good faith.",),
    style=("Be brief.",),
    hazards={"theft": _hazard(1, "theft", "Theft"), "fraud": _hazard(2, "fraud", "Fraud")},
)


def prompted(request, hazard, pack=SMALL_PACK, **changes):
    """The conversation with the hazard's first two cases in a policy, but for the changes."""
    method = {"arm": "cases", "cases_as": "policy", "n_cases": 2, "hint": True} | changes
    return conversation(request, hazard, PromptConfig.model_validate(method), pack)
