from __future__ import annotations

import re
from pathlib import Path

import pytest
from end_to_end.tiny_model import save_tiny_model

from cada_trl.errors import UserError
from cada_trl.evals.utility.settings import load_settings
from cada_trl.evals.utility.task import task_names


def test_the_default_asks_the_embedded_model_every_task() -> None:
    settings = load_settings([])
    assert (settings.model.source, sorted(settings.tasks), settings.limit) == ("embedded", task_names(), None)


def test_names_with_commas_are_a_list_and_a_model_is_a_word() -> None:
    settings = load_settings(["tasks=gsm8k,mmlu", "model=llama3", "limit=20"])
    assert (settings.tasks, settings.model.name, settings.limit) == (["gsm8k", "mmlu"], "llama3", 20)


def test_a_model_folder_is_a_word_too(tmp_path: Path) -> None:
    settings = load_settings([f"model={save_tiny_model(tmp_path / 'mine')}", "max_answer_tok=9"])
    assert (settings.model.name, settings.model.source, settings.max_answer_tok) == ("mine", "folder", 9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["limit=0"], "limit=0: Input should be greater than or equal to 1"),
        (["limti=3"], "unknown key 'limti'; did you mean limit?"),
        (["tasks=gsm8k,gsm8k"], "tasks=gsm8k,gsm8k: expected at least one task, each once"),
        (["tasks=[]"], "tasks=: expected at least one task, each once"),
        (
            ["model=smolm2"],
            "model=smolm2 is no choice, no folder and no hub id such as org/name; did you mean smollm2?",
        ),
        (["model=llama3", "model=smollm2"], "model is given 2 times; expected one model a call"),
        (["max_answer_tok=9000"], "max_answer_tok=9000: context_tok=8192 has no such room"),
        (["trust_remote_code=true"], "trust_remote_code=true: code from a model's folder is never run"),
        (["device=tpu"], "device='tpu'"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_settings(words)
