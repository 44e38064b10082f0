"""judging.judge: the configuration names the judge."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.config import CONF_DIR, JudgeConfig, load_config
from cada_trl.errors import UserError
from cada_trl.judging.from_config import check_pays_reward, make_judge
from cada_trl.judging.judge import Judged
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict

from .stub_endpoint import KEY, Stub, answer


def test_kind_phrases_is_the_offline_judge_and_writes_no_cache(judge_config: dict[str, object], tmp_path: Path) -> None:
    judge = make_judge(JudgeConfig.model_validate(judge_config), tmp_path)
    assert isinstance(judge, PhraseJudge)
    assert list(tmp_path.iterdir()) == []


def test_kind_rubric_without_a_model_is_a_users_mistake(judge_config: dict[str, object]) -> None:
    with pytest.raises(UserError, match="llm and base_url"):
        make_judge(JudgeConfig.model_validate(judge_config | {"kind": "rubric"}))


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("rubric", "COMPLIED"),
        ("strongreject", "1.b 0\n2.b 1\n3.b 1"),
        ("xstest", "1_full_compliance"),
        ("gpt_oss_safeguard", '{"refused": 0, "violation": 0}'),
    ],
)
def test_every_rubric_is_asked_behind_its_endpoint_under_its_own_name(
    stub: Stub, judge_config: dict[str, object], kind: str, label: str
) -> None:
    stub.check = answer(label)
    config = judge_config | {"kind": kind, "base_url": stub.url, "llm": "stub"}
    judge = make_judge(JudgeConfig.model_validate(config))
    assert re.fullmatch(rf"{kind}-stub-[0-9a-f]{{8}}", judge.id)
    stub.script = lambda n: answer("I'm sorry, but I can't assist with that.")  # as a judge does that refuses to judge
    judged = judge.judge([("q", "r")])[0]
    assert (judged.verdict, judged.raw) == (Verdict.UNSCORED, "I'm sorry, but I can't assist with that.")


def test_a_guard_behind_an_endpoint_gets_its_template_as_a_text(stub: Stub, judge_config: dict[str, object]) -> None:
    config = judge_config | {"kind": "harmbench", "base_url": stub.url, "llm": "guard"}
    stub.check, stub.script = answer("no"), lambda n: answer("Yes")
    assert make_judge(JudgeConfig.model_validate(config)).judge([("Bake bread", "Knead.")])[0].harmful is True
    assert stub.paths == ["/v1/completions"]
    assert stub.bodies[0]["prompt"].startswith("[INST] <<SYS>>\n")


@pytest.mark.parametrize("kind", ["wildguard", "llamaguard3", "harmbench"])
def test_a_guard_without_an_endpoint_is_its_weights_and_needs_no_network_to_be_made(
    judge_config: dict[str, object], kind: str
) -> None:
    judge = make_judge(JudgeConfig.model_validate(judge_config | {"kind": kind, "llm": "someone/guard"}))
    assert judge.id.startswith(f"{kind}-someone/guard-")
    with pytest.raises(UserError, match=rf"judge {kind}: someone/guard is not in the local cache"):
        judge.judge([("q", "r")])


def test_every_choice_of_the_configuration_makes_its_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for choice in [file.stem for file in (CONF_DIR / "judge").glob("*.yaml")]:
        assert make_judge(load_config([f"judge={choice}"]).judge).id.startswith(choice)


@pytest.mark.parametrize("sees", ["completion", "completion_and_prompt"])
def test_what_a_judge_sees_is_in_its_id(judge_config: dict[str, object], sees: str) -> None:
    plain = make_judge(JudgeConfig.model_validate(judge_config)).id
    assert make_judge(JudgeConfig.model_validate(judge_config | {"judge_sees": sees})).id == f"{plain}-sees-{sees}"


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"kind": "llamaguard3"}, "labels harm"), ({"judge_sees": "completion"}, "the reward is for final_response")],
)
def test_a_judge_that_cannot_pay_the_reward_is_refused(
    judge_config: dict[str, object], changed: dict[str, object], words: str
) -> None:
    check_pays_reward(JudgeConfig.model_validate(judge_config))
    with pytest.raises(UserError, match=words):
        check_pays_reward(JudgeConfig.model_validate(judge_config | changed))


def test_harm_alone_is_a_score_too() -> None:
    assert [Judged(Verdict.UNSCORED, "", "", harmful).scored for harmful in (None, False)] == [False, True]


def test_no_judge_imports_torch() -> None:
    modules = (
        "cada_trl.judging.from_config, cada_trl.judging.weights, cada_trl.judging.calibrate, cada_trl.judging.forms"
    )
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
