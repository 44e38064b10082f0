"""Split a completion into its analysis and its final response."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cada_trl.records import Status

ANALYSIS_HEADER = "### Analysis"
RESPONSE_HEADER = "### Final Response"


def _header(words: str) -> re.Pattern[str]:
    """A header in the forms that models write: `### Words` anywhere; at the start of a line `**Words**`, `Words:`, or
    `Words` alone. Any letter case. The same words inside prose ("the analysis shows") are no header.
    """
    return re.compile(
        rf"#{{1,6}}[ \t]*\**{words}\b\**:?\**|^[ \t]*(?:\*+{words}:?\*+:?|{words}(?::|[ \t]*$))",
        re.IGNORECASE | re.MULTILINE,
    )


_ANALYSIS = _header("Analysis")
_RESPONSE = _header("Final Response")


@dataclass(frozen=True)
class Reasoning:
    """analysis is "" where the model did not reason; status says how the split went."""

    analysis: str
    final_response: str
    status: Status

    @property
    def reasoned(self) -> bool:
        """Both headers are there with an analysis, as the reward pays it (an empty response is never scored)."""
        return self.status is Status.OK and bool(self.analysis)


def split_reasoning(completion: str, truncated: bool = False) -> Reasoning:
    """Split at the LAST "Final Response" header; without one the whole text is the final response (paper: Reward, [L]).

    The analysis is the text between the first "Analysis" header and that last one; what stands before it is left out
    (ours: the paper wants a non-null reasoning and does not say what may precede it). Text without an "Analysis" header
    is no reasoning. truncated: sampling stopped at max_new_tok, so an analysis without a final response is unfinished,
    not a direct answer. Special tokens are the decoder's to remove: here they are text.
    """
    text = completion.strip()
    markers = list(_RESPONSE.finditer(text))
    if not markers:
        return Reasoning("", text, Status.TRUNCATED if truncated else Status.NO_MARKER)
    final_response = text[markers[-1].end() :].strip()
    before = text[: markers[-1].start()]
    header = _ANALYSIS.search(before)
    analysis = before[header.end() :].strip() if header else ""
    status = Status.TRUNCATED if truncated and not final_response else Status.OK
    return Reasoning(analysis, final_response, status)
