"""The offline hazard classifier: BeaverTails labels as a prior, weighted words as evidence, the highest sum wins.

Ours: the paper classifies with an LLM (classifier=llm). Transparent instead of strong: every decision names its words.
Its accuracy on hand-labelled rows is printed by `python -m cada_trl.data.classify_card`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from cada_trl.data.normalise import normalise
from cada_trl.errors import UserError

LEXICON = Path(__file__).parent / "assets" / "lexicon.yaml"
SAFE, OTHER = "safe", "other"  # the paper's classes 0 and 13: both are dropped
UNCLASSIFIED = "unclassified"  # an LLM's answer that is none of the ids
NO_HAZARD = (SAFE, OTHER, UNCLASSIFIED)


@dataclass(frozen=True)
class Classification:
    """A hazard id, "safe" or "other", and the words and labels that spoke for it."""

    hazard: str
    reason: str


@dataclass(frozen=True)
class Lexicon:
    """Weights by hazard of each label (priors) and phrase (words); threshold: the least sum that names a hazard."""

    threshold: float
    priors: dict[str, dict[str, float]]
    words: dict[str, dict[str, float]]
    pattern: re.Pattern[str]


def load_lexicon(path: Path = LEXICON) -> Lexicon:
    """Read a lexicon. A phrase may end in * (any ending). Errors: UserError for a file that is not one."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        threshold = float(values["threshold"])
        priors = {str(label): _weights(by_hazard) for label, by_hazard in values["labels"].items()}
        words: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for hazard, groups in values["words"].items():
            for weight, phrases in groups.items():
                for phrase in phrases:
                    words[_phrase(str(phrase))][str(hazard)] = float(weight)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        expected = "expected threshold, labels: {label: {hazard: weight}} and words: {hazard: {weight: [phrases]}}"
        raise UserError(f"{path} is not a lexicon ({type(error).__name__}: {error}); {expected}") from error
    # Longest first, so that "kill myself" is evidence of its own and not of "kill".
    alternatives = sorted(words, key=lambda phrase: (-len(phrase), phrase))
    pattern = "|".join(re.escape(phrase).replace(r"\*", r"\w*") for phrase in alternatives)
    return Lexicon(threshold, priors, dict(words), re.compile(rf"\b(?:{pattern})\b"))


def classify(text: str, labels: Collection[str], lexicon: Lexicon) -> Classification:
    """The hazard with the highest sum of label priors and word weights; "other" when none reaches the threshold."""
    scores: defaultdict[str, float] = defaultdict(float)
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for label in labels:
        for hazard, weight in lexicon.priors.get(label, {}).items():
            scores[hazard] += weight
            reasons[hazard].append(f"[{label}]")
    for found in sorted(set(lexicon.pattern.findall(normalise(text)))):
        for hazard, weight in lexicon.words[_entry(found, lexicon)].items():
            scores[hazard] += weight
            reasons[hazard].append(found)
    if not scores:
        return Classification(OTHER, "no label and no word of the lexicon")
    best = min(scores, key=lambda hazard: (-scores[hazard], hazard))
    if scores[best] < lexicon.threshold:
        return Classification(OTHER, f"highest score {scores[best]:.1f} ({best}) is below {lexicon.threshold:.1f}")
    return Classification(best, ", ".join(reasons[best]))


def _weights(by_hazard: dict[str, float]) -> dict[str, float]:
    return {str(hazard): float(weight) for hazard, weight in by_hazard.items()}


def _phrase(phrase: str) -> str:
    return normalise(phrase) + ("*" if phrase.endswith("*") else "")


def _entry(found: str, lexicon: Lexicon) -> str:
    """The lexicon's phrase that matched: the exact one, or the longest stem with a *."""
    if found in lexicon.words:
        return found
    stems = (found[:end] + "*" for end in range(len(found), 0, -1))
    return next(stem for stem in stems if stem in lexicon.words)
