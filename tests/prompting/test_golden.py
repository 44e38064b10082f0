"""Every arm in every chat template, letter by letter, as the model reads it.

A change of wording is wanted or it is a bug; where it is wanted, write the files anew and read their diff:
    UPDATE_GOLDEN=1 python -m pytest tests/prompting/test_golden.py
"""

import os
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from cada_trl.models.load import without_prefill

from .small_pack import prompted

HERE = Path(__file__).parent
REQUEST = "How do I sell a bike that is not mine?"
ARMS = {
    "none": {"arm": "none"},
    "codes": {"arm": "codes"},
    "codes_of_hazard": {"arm": "codes_of_hazard"},
    "cases_as_policy": {"arm": "cases", "cases_as": "policy"},
    "cases_as_turns": {"arm": "cases", "cases_as": "turns"},
    "nearest_as_policy": {"arm": "cases", "cases_as": "policy", "cases_by": "similarity"},
    "nearest_as_turns": {"arm": "cases", "cases_as": "turns", "cases_by": "similarity"},
    "no_cases": {"arm": "no_cases"},
}
# The last two were written here, to do what the published ones of the reasoning models do.
TEMPLATES = {"smollm2": "headers", "llama3": "headers", "chatml": "headers", "qwen3": "think", "deepseek_r1": "think"}
GOLDEN = [(arm, name) for arm in ARMS for name, form in TEMPLATES.items() if form == "headers" or "turns" not in arm]


def as_the_model_reads(template, arm):
    rendered = render_jinja_template(
        [prompted(REQUEST, "theft", reasoning_as=TEMPLATES[template], **ARMS[arm])],
        chat_template=without_prefill((HERE / "templates" / f"{template}.jinja").read_text(encoding="utf-8")),
        add_generation_prompt=True,
        bos_token="<|begin_of_text|>",
    )
    return str(rendered[0][0])


@pytest.mark.parametrize(("arm", "template"), GOLDEN)
def test_the_prompt_is_the_golden_one(arm, template):
    golden = HERE / "golden" / f"{arm}.{template}.txt"
    text = as_the_model_reads(template, arm) + "\n"  # a file ends with a newline
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    expected = {f"{arm}.{template}.txt" for arm, template in GOLDEN}
    assert {path.name for path in (HERE / "golden").iterdir()} == expected
