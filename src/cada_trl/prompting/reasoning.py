"""Split a completion into its analysis and its final response."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cada_trl.records import Status

ANALYSIS_HEADER = "### Analysis"
RESPONSE_HEADER = "### Final Response"

_ANALYSIS = re.compile(r"#*[ \t]*\**Analysis\**:?[ \t]*", re.IGNORECASE)
_RESPONSE = re.compile(r"#*[ \t]*\**Final Response\**:?[ \t]*", re.IGNORECASE)


@dataclass(frozen=True)
class Reasoning:
    """analysis is "" where the model did not reason; status says how the split went."""

    analysis: str
    final_response: str
    status: Status

    @property
    def reasoned(self) -> bool:
        """Both headers are there with text under each: the format that the reward pays."""
        return self.status is Status.OK and bool(self.analysis)


def split_reasoning(completion: str, truncated: bool = False) -> Reasoning:
    """Split at the LAST "Final Response" marker; without one the whole text is the final response (paper: Reward, [L]).

    The analysis is the text between the first "Analysis" header at the start and that marker. truncated: sampling
    stopped at max_new_tok, so an analysis without a marker is unfinished, not a direct answer.
    """
    text = completion.strip()
    markers = list(_RESPONSE.finditer(text))
    if not markers:
        status = Status.TRUNCATED if truncated else Status.NO_MARKER
        return Reasoning("", text, status)
    final_response = text[markers[-1].end() :].strip()
    before = text[: markers[-1].start()].strip()
    header = _ANALYSIS.match(before)
    analysis = before[header.end() :].strip() if header else ""
    status = Status.TRUNCATED if truncated and not final_response else Status.OK
    return Reasoning(analysis, final_response, status)
