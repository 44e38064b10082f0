"""A task asked through lm-eval: answers asked once and kept, lm-eval's own numbers, and wrong data never gets there."""

import json
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.settings import load_utility_config
from cada_trl.evaluation.utility.task import plan_tasks, write_definitions
from cada_trl.records import read_jsonl

pytest.importorskip("lm_eval")
from cada_trl.evaluation.utility import run
from cada_trl.evaluation.utility.run import RecordedLM


class ScriptedLM:
    """log-probability: minus the length of the choice. Notes what each batch asked."""

    max_length, tokenizer_name = 10, "scripted"
    model = None

    def __init__(self, logp=None, fails_after=99):
        self.batches = []
        self._logp, self._fails_after = logp, fails_after

    def loglikelihood(self, requests, disable_tqdm):
        self._note(requests)
        return [(self._logp or -float(len(request.args[1])), False) for request in requests]

    def generate_until(self, requests, disable_tqdm):
        self._note(requests)
        return [request.args[0].upper() + "\u2028" for request in requests]

    def tok_encode(self, text):
        return list(text)

    def _note(self, requests):
        if len(self.batches) == self._fails_after:
            raise KeyboardInterrupt
        self.batches.append([request.args for request in requests])


@pytest.fixture(autouse=True)
def without_a_models_attention(monkeypatch):
    monkeypatch.setattr(run, "decoding_attention", nullcontext)


def request(*args):
    return SimpleNamespace(args=args)


CHOICES = [request(prompt, choice) for prompt in ("b", "ccc", "aa") for choice in ("A", "BB")]


def recorded(lm, tmp_path, batch_tok=6):
    return RecordedLM(lm, tmp_path / "answers.jsonl", batch_tok)


def test_a_batch_holds_so_many_padded_tokens_the_longest_prompts_first_with_all_their_choices(tmp_path):
    lm = ScriptedLM()
    assert recorded(lm, tmp_path).loglikelihood(CHOICES) == [(-1.0, False), (-2.0, False)] * 3
    assert lm.batches == [[("ccc", "A"), ("ccc", "BB"), ("aa", "A"), ("aa", "BB")], [("b", "A"), ("b", "BB")]]


def test_a_prompt_beyond_the_tokens_of_a_batch_goes_alone(tmp_path):
    lm = ScriptedLM()
    recorded(lm, tmp_path, batch_tok=2).generate_until([request("b", {}), request("a", {}), request("ccc", {})])
    assert [[prompt for prompt, _ in batch] for batch in lm.batches] == [["ccc"], ["b", "a"]]


def test_what_was_answered_is_not_asked_again(tmp_path):
    first = recorded(ScriptedLM(), tmp_path).generate_until([request("a", {}), request("b", {})])
    assert first == ["A\u2028", "B\u2028"]
    lm = ScriptedLM()
    assert recorded(lm, tmp_path).generate_until([request("b", {}), request("c", {}), request("c", {})]) == [
        "B\u2028",
        "C\u2028",
        "C\u2028",
    ]
    assert lm.batches == [[("c", {})]]


def test_other_settings_of_the_same_prompt_are_another_question(tmp_path):
    recorded(ScriptedLM(), tmp_path).generate_until([request("a", {"max_gen_toks": 8})])
    lm = ScriptedLM()
    recorded(lm, tmp_path).generate_until([request("a", {"max_gen_toks": 9})])
    assert len(lm.batches) == 1


def test_an_interrupted_run_goes_on_after_its_last_whole_batch(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        recorded(ScriptedLM(fails_after=1), tmp_path).loglikelihood(CHOICES)
    with (tmp_path / "answers.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"key": "to')  # a line that kill -9 tore
    lm = ScriptedLM()
    assert recorded(lm, tmp_path).loglikelihood(CHOICES) == [(-1.0, False), (-2.0, False)] * 3
    assert lm.batches == [[("b", "A"), ("b", "BB")]]


@pytest.mark.parametrize("logp", [math.nan, -math.inf])
def test_a_log_probability_that_is_no_number_stops_the_run(logp, tmp_path):
    with pytest.raises(UserError, match=r"the model gave a log-probability of (nan|-inf)"):
        recorded(ScriptedLM(logp), tmp_path).loglikelihood(CHOICES)
    assert not (tmp_path / "answers.jsonl").exists()


def test_a_row_that_is_no_answer_is_named(tmp_path):
    (tmp_path / "answers.jsonl").write_text(json.dumps({"key": "a"}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"answers\.jsonl: a row without 'answer'"):
        recorded(ScriptedLM(), tmp_path)


def test_prompts_that_leave_too_little_room_are_counted(tmp_path):
    assert recorded(ScriptedLM(), tmp_path).n_cut(["x" * 7, "x" * 8], reserved_tok=3) == 1


pytestmark = pytest.mark.usefixtures("small_tasks")


def asked(tiny, data_root, *words):
    root = "null" if data_root is None else str(data_root)
    settings = load_utility_config([f"model={tiny}", f"data_root={root}", "max_answer_tok=8", "batch_tok=300", *words])
    return settings, plan_tasks(settings)[0]


def by_lm_eval(plan, settings, folder):
    """The same task by lm-eval's simple_evaluate and its own loop over the model."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    name = write_definitions(plan.task, plan.questions, plan.data_root, folder)
    output = simple_evaluate(
        model=run.load_lm(settings),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        apply_chat_template=plan.task.chat_template,
        fewshot_as_multiturn=plan.task.fewshot_as_turns,
        gen_kwargs={"max_gen_toks": settings.max_answer_tok} if plan.task.generates else None,
    )
    return output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu", "mmlu_plain"])
def test_the_answers_are_those_of_lm_evals_own_loop(name, tiny, data_root, tmp_path):
    settings, plan = asked(tiny, data_root, f"tasks={name}")
    result = run.run_task(plan, settings, lambda: run.load_lm(settings), tmp_path / "ours")
    ours = {(row["subset"], row["row"]): row for _, row in read_jsonl(tmp_path / "ours" / "samples.jsonl")}
    theirs = by_lm_eval(plan, settings, tmp_path / "theirs")
    scores = theirs["groups"][plan.task.group] if plan.task.group else theirs["results"][name]
    assert result["accuracy"]["value"] == pytest.approx(scores[f"{plan.task.metric},{plan.task.filter}"])
    for subset in plan.questions:
        for sample in theirs["samples"][plan.task.leaf_of(subset)]:
            row = ours[subset, sample["doc_id"]]
            assert (row["prompt_sha256"], row["target"]) == (sample["prompt_hash"], sample["target"])
            if plan.task.generates:
                assert row["response"] == sample["resps"][0][0]
            else:
                logps = [answer[0][0] for answer in sample["resps"]]
                assert [logp for logp, _ in row["response"]] == pytest.approx(logps, abs=1e-4)


def test_with_a_limit_only_its_rows_are_asked(tiny, data_root, tmp_path):
    settings, plan = asked(tiny, data_root, "tasks=mmlu_plain", "limit=2", "seed=3")
    run.run_task(plan, settings, lambda: run.load_lm(settings), tmp_path)
    rows = [(row["subset"], row["row"]) for _, row in read_jsonl(tmp_path / "samples.jsonl")]
    assert rows == [(subset, row) for subset, numbers in plan.questions.items() for row in numbers]
    assert len(rows) == 2


def test_a_hub_set_of_another_size_is_refused_before_the_model_is_loaded(tiny, tmp_path, monkeypatch):
    import datasets

    rows = datasets.Dataset.from_list([{"question": "How many?", "answer": "#### 1"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"train": rows, "test": rows})
    settings, plan = asked(tiny, None, "tasks=gsm8k")
    with pytest.raises(UserError, match="gsm8k: 1 rows of all in openai/gsm8k; expected the published 3"):
        run.run_task(plan, settings, lambda: pytest.fail("it loads the model"), tmp_path)
    assert not (tmp_path / "result.json").exists()
