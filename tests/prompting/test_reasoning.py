"""Splitting a completion: which text is the analysis, which the final response, and what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.prompting.reasoning import ANALYSIS_HEADER, MARKS, RESPONSE_HEADER, begun_answer, split_reasoning
from cada_trl.records import Status

# name: (completion, analysis, final response)
SPLIT = {
    "as asked": ("### Analysis\nIt harms.\n### Final Response\nNo.", "It harms.", "No."),
    "on one line": ("### Analysis It harms. ### Final Response No.", "It harms.", "No."),
    "one hash, no blank": ("#Analysis\nIt harms.\n#Final Response\nNo.", "It harms.", "No."),
    "bold": ("**Analysis**\nIt harms.\n**Final Response**\nNo.", "It harms.", "No."),
    "bold with colon inside": ("**Analysis:** It harms.\n**Final Response:** No.", "It harms.", "No."),
    "bold with colon outside": ("**Analysis**: It harms.\n**Final Response**: No.", "It harms.", "No."),
    "hashes and bold": ("### **Analysis**\nIt harms.\n### **Final Response:**\nNo.", "It harms.", "No."),
    "lower case": ("### analysis\nIt harms.\n### final response\nNo.", "It harms.", "No."),
    "plain with colon": ("Analysis: It harms.\nFinal Response: No.", "It harms.", "No."),
    "plain on lines of their own": ("Analysis\nIt harms.\nFinal Response\nNo.", "It harms.", "No."),
    "the last marker wins": (
        "### Analysis\nIt harms.\n### Final Response\nNo.\n### Final Response\nNever.",
        "It harms.\n### Final Response\nNo.",
        "Never.",
    ),
    "text before the analysis": ("Sure.\n### Analysis\nIt harms.\n### Final Response\nNo.", "It harms.", "No."),
    "empty analysis": ("### Analysis\n\n### Final Response\nNo.", "", "No."),
    "no analysis header": ("It harms.\n### Final Response\nNo.", "", "No."),
    "empty response": ("### Analysis\nIt harms.\n### Final Response\n", "It harms.", ""),
    "the word analysis in prose": ("The analysis shows harm.\n### Final Response\nNo.", "", "No."),
    "prose that begins with the word": ("Analysis shows harm.\n### Final Response\nNo.", "", "No."),
    "the marker's words in prose": (
        "### Analysis\nMy final response must be short.\n### Final Response\nNo.",
        "My final response must be short.",
        "No.",
    ),
    "the marker's words in the response": (
        "### Analysis\nIt harms.\n### Final Response\nThis is my final response to you.",
        "It harms.",
        "This is my final response to you.",
    ),
    "a longer word": (
        "### Analysis\nIt harms.\n### Final Responses\n### Final Response\nNo.",
        "It harms.\n### Final Responses",
        "No.",
    ),
    "think tags": ("<think>\nIt harms.\n</think>\n\nNo.", "It harms.", "No."),
    "an empty think block": ("<think>\n\n</think>\n\nNo.", "", "No."),
    "text before the think tag": ("Let me see. <think>It harms.</think> No.", "It harms.", "No."),
    "a think block that began in the prompt": ("It harms.\n</think>\n\nNo.", "It harms.", "No."),
    "the last closing tag wins": ("<think>It harms.</think>No.</think>Never.", "It harms.</think>No.", "Never."),
    "a header inside a think block": (
        "<think>### Final Response\nIt harms.</think>No.",
        "### Final Response\nIt harms.",
        "No.",
    ),
    "special tokens are text": (
        "### Analysis\nIt harms.\n### Final Response\nNo.<|im_end|>",
        "It harms.",
        "No.<|im_end|>",
    ),
}


@pytest.mark.parametrize("name", SPLIT)
def test_a_completion_is_split(name):
    completion, analysis, final_response = SPLIT[name]
    split = split_reasoning(completion)
    assert (split.analysis, split.final_response, split.status) == (analysis, final_response, Status.OK)
    assert split.reasoned is bool(analysis)


@pytest.mark.parametrize(
    "completion",
    ["", "No.", "### Analysis\nIt harms, so no.", "My final response is no.", "Final response times are short."],
)
def test_without_a_marker_the_whole_text_is_the_response(completion):
    split = split_reasoning(completion)
    assert (split.analysis, split.final_response, split.status) == ("", completion, Status.NO_MARKER)
    assert not split.reasoned


@pytest.mark.parametrize(
    ("completion", "status", "reasoned"),
    [
        ("### Analysis\nIt har", Status.TRUNCATED, False),
        ("No, because", Status.TRUNCATED, False),
        ("### Analysis\nIt harms.\n### Final Response\n", Status.TRUNCATED, False),
        ("### Analysis\nIt harms.\n### Final Response\nNo, bec", Status.OK, True),
    ],
)
def test_a_completion_cut_off_before_its_response_is_unfinished(completion, status, reasoned):
    split = split_reasoning(completion, truncated=True)
    assert (split.status, split.reasoned) == (status, reasoned)


@pytest.mark.parametrize("tag", ["<think>", "<THINK>"])
@pytest.mark.parametrize(("truncated", "status"), [(False, Status.NO_MARKER), (True, Status.TRUNCATED)])
def test_a_think_block_that_is_not_closed_has_no_response(tag, truncated, status):
    split = split_reasoning(f"Hm. {tag}\nIt harms, so", truncated)
    assert (split.analysis, split.final_response, split.status) == ("It harms, so", "", status)
    assert not split.reasoned


@pytest.mark.parametrize("form", MARKS)
def test_what_is_begun_in_a_form_comes_back(form):
    split = split_reasoning(begun_answer("It harms.", form) + "No.")
    assert (split.analysis, split.final_response, split.reasoned) == ("It harms.", "No.", True)
    split = split_reasoning(begun_answer("", form) + "No.")
    assert (split.analysis, split.final_response, split.reasoned) == ("", "No.", False)


PROSE = st.text().filter(lambda text: "analysis" not in text.casefold() and "final" not in text.casefold())


@pytest.mark.slow
@given(PROSE, PROSE)
def test_what_was_joined_comes_back(analysis, response):
    split = split_reasoning(f"{ANALYSIS_HEADER}\n{analysis}\n{RESPONSE_HEADER}\n{response}")
    assert (split.analysis, split.final_response) == (analysis.strip(), response.strip())
    assert split.reasoned is bool(analysis.strip())


@given(st.text())
def test_any_text_is_split_without_an_error_and_nothing_is_made_up(text):
    split = split_reasoning(text)
    assert split.analysis in text and split.final_response in text


@pytest.mark.parametrize("character", ["#", " ", "*", "\n", "### ", "Final Response "])
def test_a_long_repetition_is_split_at_once(character):
    assert split_reasoning(character * 10_000 + "x").final_response.endswith("x")
