"""The model under test: what its answers depend on, the prompts that it gets, and that it is loaded late and let go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cada_trl.data.benchmark_items import Item
from cada_trl.evaluation import model as tested_model
from cada_trl.evaluation.generation.generator import Completion
from cada_trl.evaluation.items import Attempt
from cada_trl.evaluation.model import ModelUnderTest
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.arms import Messages

from .small_evaluation import write_model

Make = Callable[..., ModelUnderTest]
ATTEMPTS = [
    Attempt(Item(f"six-{number}", "six", "Bully Ann", "hate", "", True), "none", f"prompt {number}", "")
    for number in range(3)
]


class Echo:
    """Repeats the last message, last conversation first."""

    id = "echo"
    conversations: Sequence[Messages] = ()
    closed = False

    def generate(self, conversations: Sequence[Messages]) -> Iterator[tuple[int, Completion]]:
        self.conversations = conversations
        for index in reversed(range(len(conversations))):
            yield index, Completion(f"to {conversations[index][-1]['content']}", 2, False)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def make(tmp_path: Path) -> Make:
    folder = write_model(tmp_path / "model")

    def one(*others: str) -> ModelUnderTest:
        config = load_evaluate_config([f"model={folder}", *others])
        return ModelUnderTest(config, load_pack(config.hazards))

    return one


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    echo = Echo()
    made: list[Any] = []
    monkeypatch.setattr(tested_model, "make_generator", lambda *given: made.append(given) or echo)  # type: ignore[func-returns-value]
    monkeypatch.setattr(tested_model, "quiet_libraries", lambda: None)
    return echo


def test_its_answers_depend_on_content_decoding_and_arm_and_not_on_name_judge_or_batches(make: Make) -> None:
    decides = make().decides
    assert make("name=other", "batch_tok=9", "threads=2", "min_coverage=0.1").decides == decides
    for changed in ("max_new_tok=9", "dtype=bfloat16", "context_tok=99", "arm=no_cases", "arm=codes"):
        assert make(changed).decides != decides, changed
    assert make("arm=cases", "n_cases=1").decides != make("arm=cases", "n_cases=2").decides
    assert "hazards" not in make("arm=no_cases").decides["prompt"]


def test_completions_come_back_in_the_attempts_order_for_an_adaptive_attack(make: Make, echo: Echo) -> None:
    with make() as model:
        assert model.answer(ATTEMPTS) == ["to prompt 0", "to prompt 1", "to prompt 2"]
        assert not echo.closed
    assert echo.closed


def test_an_arm_gets_the_items_hazard_and_the_attacks_prompt(make: Make, echo: Echo) -> None:
    with make("arm=cases", "cases_as=turns", "n_cases=2") as model:
        list(model.responses(ATTEMPTS))
    pack = load_pack("builtin")
    first = echo.conversations[0]
    assert [message["content"] for message in first[::2]] == [
        *(case.request for case in pack.hazards["hate"].cases[:2]),
        "prompt 0",
    ]


def test_a_model_that_is_not_asked_is_not_loaded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested_model, "make_generator", lambda *given: pytest.fail("loaded"))
    with make() as model:
        assert model.decides["generator"]
