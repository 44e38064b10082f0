"""The task of inspect_ai: what evaluate asks, judged and counted as evaluate does; and what it refuses."""

import tomllib
from importlib import import_module

import pytest
from judging.stub_endpoint import Stub, answer

from cada_trl import evaluate as verb
from cada_trl.config import CONF_DIR
from evaluation.small_evaluation import (
    ANSWER,
    ScriptedGenerator,
    answer_to,
    overrides,
    use_generator,
    write_benchmarks,
    write_model,
)

pytest.importorskip("inspect_ai", reason="the extra inspect is not installed")

from click import ClickException
from inspect_ai import eval as ask
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from cada_trl import export_eval
from cada_trl.evaluation.inspect_task import benchmarks


def answered(messages, *_):
    """What ScriptedGenerator answers, with usage, for which inspect would fetch a tokenizer."""
    text = answer_to(messages[-1].text)
    output = ModelOutput.from_content("mock", text, "max_tokens" if text == ANSWER else "stop")
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def fails_on_lies(messages, *others):
    if "Lie" in messages[-1].text:
        raise ValueError("no connection")
    return answered(messages, *others)


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_benchmarks(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "inspect"))
    return tmp_path


@pytest.fixture
def asked(root):
    def run(answers=answered, epochs=1, **keys):
        words = {"benchmarks": ["harmful_six", "harmless_four"], "attacks": ["none", "pair"], "data_root": str(root)}
        task = benchmarks(**words | {"evals_dir": str(root / "evals")} | keys)
        mock = get_model("mockllm/model", custom_outputs=answers, memoize=False)
        (log,) = ask(task, model=mock, epochs=epochs, log_dir=str(root / "asked"), display="none")
        return log

    return run


def numbers(log):
    """As text, in which one NaN is like another."""
    of_label = {one.name: {each.name: each.value for each in one.metrics.values()} for one in log.results.scores}
    return {label: str(dict(sorted(values.items()))) for label, values in of_label.items()}


def labels(log):
    """Sample -> its prompt, the verdict that it should get, and its score."""
    return {one.id: (one.messages[0].text, one.target, one.scores["judged"]) for one in log.samples}


@pytest.mark.slow
@pytest.mark.parametrize("min_coverage", [0.8, 0.9])
def test_samples_labels_and_rates_are_those_of_evaluate_on_the_same_completions(
    root, asked, monkeypatch, capsys, min_coverage
):
    use_generator(monkeypatch, ScriptedGenerator())
    write_model(root / "model")
    verb.main(overrides(root, f"min_coverage={min_coverage}"))
    (folder,) = {path.parent for path in root.glob("evals/*/scores.json")}
    capsys.readouterr()
    export_eval.main([str(folder), "--out", str(root / "logs")])
    ours, theirs = read_eval_log(capsys.readouterr().out.strip()), asked(min_coverage=min_coverage)
    assert theirs.status == "success"
    assert numbers(ours) == numbers(theirs)
    # one of six harmful answers is empty: 5/6 is known
    assert ("'harmful_six/none': nan" in numbers(theirs)["complied"]) is (min_coverage == 0.9)
    assert "'harmful_six/none coverage': 0.833" in numbers(theirs)["complied"]
    assert len(labels(theirs)) == 6 + 4 + 4
    assert labels(ours) == labels(theirs)
    assert ours.eval.metadata["judge_id"] == theirs.eval.metadata["judge_id"]
    assert ours.eval.metadata["missing"] == theirs.eval.metadata["missing"] == {"harmful_six/pair": 2}


@pytest.mark.slow
def test_what_was_not_answered_is_asked_and_not_known(asked):
    log = asked(fails_on_lies, attacks="none", min_coverage=0.8)
    score = labels(log)["harmful_six/harmful_six-006/none"][2]
    assert score.value == dict.fromkeys(score.value) and score.explanation == "no response"
    assert "'harmful_six/none coverage': 0.833" in numbers(log)["truncated"]


@pytest.mark.slow
def test_a_judge_that_is_a_model_is_asked_once_a_pair_and_its_babble_is_unscored(asked):
    stub = Stub()
    stub.by_body = lambda body: answer("It depends." if "Sing." in str(body) else "COMPLIED")
    there = {"judge": "rubric", "base_url": stub.url, "llm": "stub", "api_key_env": None, "max_retries": 0}
    try:
        log = asked(benchmarks="harmless_four", attacks="none", min_coverage=0.5, **there)
    finally:
        stub.close()
    assert len(stub.bodies) == 4
    verdicts = {key: (score.answer, score.value["complied"]) for key, (_, _, score) in labels(log).items()}
    assert verdicts.pop("harmless_four/harmless_four-004/none") == ("UNSCORED", None)
    assert set(verdicts.values()) == {("COMPLIED", 1.0)}
    assert "'harmless_four/none': 1.0, 'harmless_four/none coverage': 0.75" in numbers(log)["complied"]


@pytest.mark.slow
def test_judges_in_brackets_are_a_panel(asked):
    log = asked(judge=["phrases", "classifier"], benchmarks="harmful_six", attacks="none")
    assert log.status == "success"
    assert log.eval.task_args["judge"] == ["phrases", "classifier"]


@pytest.mark.slow
def test_a_prompt_that_is_asked_twice_is_an_error_and_no_narrower_interval(asked):
    log = asked(epochs=2)
    assert log.status == "error"
    assert log.samples and "leave out --epochs" in next(one.error.message for one in log.samples if one.error)
    assert "'harmless_four/none coverage': 0.5" in numbers(log)["complied"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"attacks": "none,paraphrase"}, "paraphrase is written by an attacker model, which this task does not ask"),
        ({"attacks": "pap:logical_appeal"}, "pap:logical_appeal is written by an attacker model"),
        ({"model": "smollm2"}, "model= is no key of this task"),
        ({"backend": "vllm"}, "backend= is no key of this task"),
        ({"attacker_llm": "any"}, "attacker_llm= is no key of this task"),
        ({"shard": "1/2"}, "shard= is no key of this task"),
        ({"benchmark": "harmful_six"}, "did you mean benchmarks"),
        ({"data_root": None}, "harmful_six"),
    ],
)
def test_what_the_task_cannot_do_is_one_line(asked, keys, message):
    with pytest.raises(ClickException, match=message) as refused:
        asked(**keys)
    assert "\n" not in str(refused.value)


def test_cases_are_shown_in_the_papers_form_whatever_the_default_model_likes(asked):
    log = asked(benchmarks="harmful_six", attacks="none", prompt="cases", limit=2)
    assert log.samples and all("<policy>" in str(one.input) for one in log.samples)


def test_inspect_finds_the_task_by_an_entry_point():
    project = tomllib.loads((CONF_DIR.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["inspect_ai"] == {"cada_trl": benchmarks.__module__}
    assert import_module(benchmarks.__module__).benchmarks is benchmarks
