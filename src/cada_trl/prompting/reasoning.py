"""Split a completion into its analysis and its final response: under our headers, or a reasoning model's tags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cada_trl.records import Status

ANALYSIS_HEADER = "### Analysis"
RESPONSE_HEADER = "### Final Response"
THINK, END_OF_THINK = "<think>", "</think>"
# prompt.reasoning_as -> what stands before the analysis and before the final response, and how a prompt asks for it
MARKS = {"headers": (f"{ANALYSIS_HEADER}\n", f"{RESPONSE_HEADER}\n"), "think": (f"{THINK}\n", f"{END_OF_THINK}\n\n")}
FORMAT = {
    "headers": f'Write your analysis under the header "{ANALYSIS_HEADER}" and your answer to the user under the header '
    f'"{RESPONSE_HEADER}".',
    "think": f"Write your analysis between {THINK} and {END_OF_THINK} and your answer to the user after them.",
}


def _header(words: str, tag: str) -> re.Pattern[str]:
    """A header in the forms that models write: `### Words` anywhere; at the start of a line `**Words**`, `Words:`, or
    `Words` alone; or the tag. Any letter case. The same words inside prose ("the analysis shows") are no header.
    """
    return re.compile(
        rf"{tag}|#{{1,6}}[ \t]*\**{words}\b\**:?\**|^[ \t]*(?:\*+{words}:?\*+:?|{words}(?::|[ \t]*$))",
        re.IGNORECASE | re.MULTILINE,
    )


_ANALYSIS = _header("Analysis", THINK)
_RESPONSE = _header("Final Response", END_OF_THINK)


@dataclass(frozen=True)
class Reasoning:
    """analysis is "" where the model did not reason; status says how the split went."""

    analysis: str
    final_response: str
    status: Status

    @property
    def reasoned(self) -> bool:
        """Both marks are there with an analysis, as the reward pays it (an empty response is never scored)."""
        return self.status is Status.OK and bool(self.analysis)


def begun_answer(analysis: str, reasoning_as: str = "headers") -> str:
    """An answer up to where its final response begins; without an analysis its header is left out, its tag is empty."""
    before, after = MARKS[reasoning_as]
    return f"{before}{analysis}\n{after}" if analysis or reasoning_as == "think" else after


def begins_analysis(completion: str) -> bool:
    """Whether an analysis begins somewhere in it, under a header or a tag."""
    return _ANALYSIS.search(completion) is not None


def split_reasoning(completion: str, truncated: bool = False) -> Reasoning:
    """Split at the LAST "Final Response" header; without one the whole text is the final response (paper: Reward, [L]).

    The analysis is the text between the first "Analysis" header and that last one; what stands before it is left out
    (ours: the paper wants a non-null reasoning and does not say what may precede it). Text without an "Analysis" header
    is no reasoning. <think> and </think> are read as the two headers, whatever was asked for. A block that is not
    closed has no final response: nobody is shown it. One that is closed but not opened began in the prompt. truncated:
    sampling stopped at max_new_tok, so an analysis without a final response is unfinished, not a direct answer. Special
    tokens are the decoder's to remove: here they are text.
    """
    text = completion.strip()
    markers = list(_RESPONSE.finditer(text))
    if not markers:
        opened = re.search(THINK, text, re.IGNORECASE)
        parts = (text[opened.end() :].strip(), "") if opened else ("", text)
        return Reasoning(*parts, Status.TRUNCATED if truncated else Status.NO_MARKER)
    final_response = text[markers[-1].end() :].strip()
    before = text[: markers[-1].start()]
    header = _ANALYSIS.search(before)
    in_prompt = header is None and markers[-1][0].lower() == END_OF_THINK
    analysis = before[header.end() if header else 0 :].strip() if header or in_prompt else ""
    status = Status.TRUNCATED if truncated and not final_response else Status.OK
    return Reasoning(analysis, final_response, status)
