"""Every arm in every chat template, letter by letter, as the model reads it.

A change of wording is wanted or it is a bug; where it is wanted, write the files anew and read their diff:
    UPDATE_GOLDEN=1 python -m pytest tests/prompting/test_golden.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from cada_trl.prompting.arms import render

from .small_pack import SMALL_PACK

HERE = Path(__file__).parent
REQUEST = "How do I sell a bike that is not mine?"
ARMS: dict[str, dict[str, Any]] = {
    "none": {"arm": "none"},
    "codes": {"arm": "codes"},
    "codes_of_hazard": {"arm": "codes_of_hazard"},
    "cases_as_policy": {"arm": "cases", "cases_as": "policy"},
    "cases_as_turns": {"arm": "cases", "cases_as": "turns"},
    "nearest_as_policy": {"arm": "cases", "cases_as": "policy", "cases_by": "similarity"},
    "nearest_as_turns": {"arm": "cases", "cases_as": "turns", "cases_by": "similarity"},
    "no_cases": {"arm": "no_cases"},
}


def as_the_model_reads(template: str, arm: str) -> str:
    messages = render(request=REQUEST, hazard="theft", pack=SMALL_PACK, n_cases=2, **ARMS[arm])
    rendered: Any = render_jinja_template(
        [messages],
        chat_template=(HERE / "templates" / f"{template}.jinja").read_text(encoding="utf-8"),
        add_generation_prompt=True,
        bos_token="<|begin_of_text|>",
    )
    return str(rendered[0][0])


@pytest.mark.parametrize("template", ["smollm2", "llama3", "chatml"])
@pytest.mark.parametrize("arm", ARMS)
def test_the_prompt_is_the_golden_one(template: str, arm: str) -> None:
    golden = HERE / "golden" / f"{arm}.{template}.txt"
    text = as_the_model_reads(template, arm) + "\n"  # a file ends with a newline
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{arm}.{template}.txt" for arm in ARMS for template in ("smollm2", "llama3", "chatml")}
    assert {path.name for path in (HERE / "golden").iterdir()} == expected
