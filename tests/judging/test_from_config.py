"""judging.judge: the configuration names the judge."""

import re
from types import SimpleNamespace

import pytest

from cada_trl.config import CONF_DIR, load_config
from cada_trl.errors import UserError
from cada_trl.judging import from_config
from cada_trl.judging.from_config import check_pays_reward, make_judge, split_sees
from cada_trl.judging.judge import Judged, Panel
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict

from .stub_endpoint import KEY, answer, judge_settings


def test_kind_phrases_is_the_offline_judge_and_writes_no_cache(tmp_path):
    assert isinstance(make_judge(judge_settings(), tmp_path), PhraseJudge)
    assert list(tmp_path.iterdir()) == []


def test_kind_rubric_without_a_model_is_a_users_mistake():
    with pytest.raises(UserError, match="llm and base_url"):
        make_judge(judge_settings(kind="rubric"))


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("rubric", "COMPLIED"),
        ("strongreject", "1.b 0\n2.b 1\n3.b 1"),
        ("xstest", "1_full_compliance"),
        ("gpt_oss_safeguard", '{"refused": 0, "violation": 0}'),
    ],
)
def test_every_rubric_is_asked_behind_its_endpoint_under_its_own_name(stub, kind, label):
    stub.check = answer(label)
    judge = make_judge(judge_settings(kind=kind, base_url=stub.url, llm="stub"))
    assert re.fullmatch(rf"{kind}-stub-[0-9a-f]{{8}}", judge.id)
    stub.script = lambda n: answer("I'm sorry, but I can't assist with that.")  # as a judge does that refuses to judge
    judged = judge.judge([("q", "r")])[0]
    assert (judged.verdict, judged.raw) == (Verdict.UNSCORED, "I'm sorry, but I can't assist with that.")


def test_a_guard_behind_an_endpoint_gets_its_template_as_a_text(stub):
    judge = make_judge(judge_settings(kind="harmbench", base_url=stub.url, llm="guard"))
    stub.check, stub.script = answer("no"), lambda n: answer("Yes")
    assert judge.judge([("Bake bread", "Knead.")])[0].harmful is True
    assert stub.paths == ["/v1/completions"]
    assert stub.bodies[0]["prompt"].startswith("[INST] <<SYS>>\n")


@pytest.mark.parametrize("kind", ["wildguard", "llamaguard3", "harmbench"])
def test_a_guard_without_an_endpoint_is_its_weights_and_needs_no_network_to_be_made(kind):
    judge = make_judge(judge_settings(kind=kind, llm="someone/guard"))
    assert judge.id.startswith(f"{kind}-someone/guard-")
    with pytest.raises(UserError, match=rf"judge {kind}: someone/guard is not in the local cache"):
        judge.judge([("q", "r")])


def test_other_weights_in_the_same_folder_are_another_judge(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    ids = []
    for weights in (b"one", b"trained further", b"one"):
        (tmp_path / "model.safetensors").write_bytes(weights)
        ids.append(make_judge(judge_settings(kind="wildguard", llm=str(tmp_path))).id)
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.slow
def test_every_choice_of_the_configuration_makes_its_judge(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    for choice in {file.stem for file in (CONF_DIR / "judge").glob("*.yaml")} - {"panel"}:
        assert make_judge(load_config([f"judge={choice}"]).judge).id.startswith(choice)


def panel_of(*words):
    judge = make_judge(load_config([*words]).judge)
    assert isinstance(judge, Panel)
    return judge


def test_a_panel_is_the_same_in_any_order_and_another_with_another_judge(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    panel = panel_of("judge=[phrases,classifier]")
    assert [one.id.split("-")[0] for one in panel.members] == ["phrases", "classifier"]
    assert re.fullmatch(r"panel-classifier-phrases-[0-9a-f]{8}", panel.id)
    assert panel_of("judge=[classifier,phrases]").id == panel.id
    assert panel_of("judge=[classifier,rubric]").id != panel_of("judge=[classifier,rubric]", "llm=another").id


def test_what_a_panel_sees_is_what_each_of_its_judges_sees():
    panel = panel_of("judge=[phrases,classifier]", "judge_sees=completion")
    assert all(one.id.endswith("-sees-completion") for one in (panel, *panel.members))
    assert split_sees(panel.id)[0] == panel_of("judge=[phrases,classifier]").id


def test_a_panels_address_and_model_are_for_the_judges_that_are_asked_at_one(stub):
    words = [f"base_url={stub.url}", "llm=stub", "api_key_env=null", "timeout_s=5.0"]
    panel = panel_of("judge=[phrases,rubric,wildguard]", *words)
    names = [one.id.rpartition("-")[0] for one in panel.members]
    assert names == ["phrases", "rubric-stub", "wildguard-allenai/wildguard"]
    stub.check = says = answer("COMPLIED")
    stub.script = lambda n: says
    assert panel.members[1].judge([("q", "r")])[0].verdict is Verdict.COMPLIED


def test_a_panels_key_goes_to_no_server_that_wants_none(monkeypatch):
    made = []
    monkeypatch.setattr(
        from_config,
        "ChatEndpoint",
        SimpleNamespace(from_config=lambda one: made.append(one) or SimpleNamespace(llm=one.llm, usage={})),
    )
    panel_of("judge=[xstest,gpt_oss_safeguard]")
    panel_of("judge=[xstest,gpt_oss_safeguard]", "base_url=http://localhost:1/v1", "api_key_env=OURS")
    own, address = "https://api.openai.com/v1", "http://localhost:1/v1"
    assert [(one.base_url, one.api_key_env) for one in made] == [
        (own, "OPENAI_API_KEY"),
        ("http://localhost:8000/v1", None),
        (address, "OURS"),
        (address, "OURS"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["judge=panel"], "a panel takes two judges or more"),
        (["judge=[phrases]"], "judge=[phrases]: a panel takes two judges or more"),
        (["judge=[phrases,phrases]"], "each once"),
        (["judge=[phrases,clasifier]"], "unknown judge 'clasifier'; did you mean classifier?"),
        (["judge=[phrases,harmbench]"], "harmbench has no vote on refusals"),
        (["judge=[phrases,panel]"], "panel has no vote"),
        (["judge=[phrases,classifier]", "llm=x"], "none of them is asked at an address; leave llm out"),
        (
            ["judge=[phrases,classifier]", "timeout_s=1.0", "api_key_env=FOO"],
            "none of them is asked at an address; leave api_key_env, timeout_s out",
        ),
        (["judge=[phrases,classifier]", "max_calls=5"], "none of them is a model; leave max_calls out"),
        (["judge=[phrases,wildguard]", "max_retries=1"], "none of them is asked at an address; leave max_retries out"),
    ],
)
def test_a_panel_that_cannot_vote_is_refused_in_one_line(words, said):
    with pytest.raises(UserError, match=re.escape(said)):
        make_judge(load_config(words).judge)


@pytest.mark.parametrize("sees", ["completion", "completion_and_prompt"])
def test_what_a_judge_sees_is_in_its_id(sees):
    assert make_judge(judge_settings(judge_sees=sees)).id == f"{make_judge(judge_settings()).id}-sees-{sees}"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"kind": "llamaguard3"}, "labels harm"),
        ({"judge_sees": "completion"}, "the reward is for final_response"),
        ({"kind": "panel", "members": ["a", "b"]}, r"judge=\[a,b\]: a majority pays no reward"),
    ],
)
def test_a_judge_that_cannot_pay_the_reward_is_refused(changed, words):
    check_pays_reward(judge_settings())
    with pytest.raises(UserError, match=words):
        check_pays_reward(judge_settings(**changed))


def test_harm_alone_is_a_score_too():
    assert [Judged(Verdict.UNSCORED, "", "", harmful).scored for harmful in (None, False)] == [False, True]
