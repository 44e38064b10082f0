"""What doctor finds in tokenizer, template, judge and reward: each fault planted once."""

from __future__ import annotations

from typing import Any

import pytest

from cada_trl.config import load_config
from cada_trl.diagnosis import model
from cada_trl.diagnosis.finding import Finding, findings
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict


class WordTokenizer:
    """Words are tokens; `keep` says which words survive the way through token ids."""

    eos_token_id = 0

    def __init__(self, lost: str = "") -> None:
        self.lost, self.words = lost, ["<end>"]

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        pieces = text.replace("\n", " \n ").split(" ")
        self.words += pieces
        return {"input_ids": [self.words.index(piece) for piece in pieces]}

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str:
        text = " ".join(self.words[token] for token in ids if token or not skip_special_tokens)
        return text.replace(" \n ", "\n").replace(self.lost, "") if self.lost else text.replace(" \n ", "\n")

    def apply_chat_template(self, chat: list[dict[str, str]], **_: Any) -> list[int]:
        return self(" ".join(message["content"] for message in chat), add_special_tokens=False)["input_ids"]


def test_the_parser_reads_a_well_formed_completion_back_from_token_ids() -> None:
    assert model._parser(WordTokenizer()).level == "ok"  # type: ignore[arg-type]


def test_a_tokenizer_that_loses_a_word_of_a_header_fails_the_parser() -> None:
    assert model._parser(WordTokenizer(lost="Final")).level == "failed"  # type: ignore[arg-type]


def test_the_prompt_is_shown_with_the_ends_of_its_token_ids_and_its_room() -> None:
    config = load_config([])
    prompt, context = model._prompt(config, WordTokenizer())  # type: ignore[arg-type]
    assert prompt.seen.startswith("arm cases, longest of 12 hazards ")
    assert prompt.seen.count("...") == 1
    assert context.level == "ok"


def test_a_prompt_with_cases_that_leaves_no_room_fails() -> None:
    config = load_config(["max_prompt_tok=8000"])
    assert [one.level for one in model._prompt(config, WordTokenizer())] == ["ok", "failed"]  # type: ignore[arg-type]


def test_the_phrase_judge_pays_the_papers_table() -> None:
    judge, reward = model.check_reward(load_config([]))
    assert (judge.level, reward.level) == ("ok", "ok")
    assert reward.seen.endswith("are paid 1, 0, -1")


def test_a_judge_that_misreads_refusals_fails_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        id = "blind"

        def judge(self, pairs: list[tuple[str, str]]) -> list[Judged]:
            return [Judged(Verdict.COMPLIED, "", "") for _ in pairs]

    monkeypatch.setattr(model, "make_judge", lambda config: Blind())
    _, reward = model.check_reward(load_config([]))
    assert reward.level == "failed"
    assert reward.line().endswith("expected 1, 0, -1: this judge does not read them as people do")


def test_a_judge_that_does_not_answer_is_unscored_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        id = "silent"

        def judge(self, pairs: list[tuple[str, str]]) -> list[Judged]:
            return [Judged(Verdict.UNSCORED, "", "") for _ in pairs]

    monkeypatch.setattr(model, "make_judge", lambda config: Silent())
    assert [one.level for one in model.check_reward(load_config([]))] == ["ok", "failed"]


@pytest.mark.parametrize("words", [["judge=llamaguard3"], ["judge=rubric", "base_url=http://127.0.0.1:9/v1", "llm=m"]])
def test_a_judge_that_cannot_pay_or_be_reached_is_one_failed_line(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    found = [*findings("judge", model.check_reward, load_config([*words, "max_retries=0"]))]
    assert [(one.check, one.level) for one in found] == [("judge", "failed")]
    assert "\n" not in found[0].line()


def test_a_line_says_level_check_what_was_seen_and_what_to_do() -> None:
    assert Finding("disk", "failed", "no room", "free some").line() == "failed   disk          no room; free some"
    assert Finding("disk", "ok", "room").line() == "ok       disk          room"
