"""A task asked through lm-eval: the numbers are those of lm-eval's own loop, and wrong data never gets that far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from end_to_end.tiny_model import save_tiny_model

from cada_trl.errors import UserError
from cada_trl.evaluation.settings import UtilityConfig, load_utility_config
from cada_trl.evaluation.utility import run
from cada_trl.evaluation.utility.files import write_definitions
from cada_trl.evaluation.utility.plan import Plan, plan_tasks
from cada_trl.records import read_jsonl

pytest.importorskip("lm_eval")
pytestmark = pytest.mark.usefixtures("small_tasks")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def asked(tiny: Path, data_root: Path | None, *words: str) -> tuple[UtilityConfig, Plan]:
    root = "null" if data_root is None else str(data_root)
    settings = load_utility_config([f"model={tiny}", f"data_root={root}", "max_answer_tok=8", "batch_tok=300", *words])
    return settings, plan_tasks(settings)[0]


def by_lm_eval(plan: Plan, settings: UtilityConfig, folder: Path) -> dict[str, Any]:
    """The same task by lm-eval's simple_evaluate and its own loop over the model."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    name = write_definitions(plan.task, plan.questions, plan.data_root, folder)
    output: dict[str, Any] = simple_evaluate(
        model=run.load_lm(settings),
        tasks=[name],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        apply_chat_template=plan.task.chat_template,
        fewshot_as_multiturn=plan.task.fewshot_as_turns,
        gen_kwargs={"max_gen_toks": settings.max_answer_tok} if plan.task.generates else None,
    )
    return output


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu", "mmlu_plain"])
def test_the_answers_are_those_of_lm_evals_own_loop(name: str, tiny: Path, data_root: Path, tmp_path: Path) -> None:
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


def test_with_a_limit_only_its_rows_are_asked(tiny: Path, data_root: Path, tmp_path: Path) -> None:
    settings, plan = asked(tiny, data_root, "tasks=mmlu_plain", "limit=2", "seed=3")
    run.run_task(plan, settings, lambda: run.load_lm(settings), tmp_path)
    rows = [(row["subset"], row["row"]) for _, row in read_jsonl(tmp_path / "samples.jsonl")]
    assert rows == [(subset, row) for subset, numbers in plan.questions.items() for row in numbers]
    assert len(rows) == 2


def test_a_hub_set_of_another_size_is_refused_before_the_model_is_loaded(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    rows = datasets.Dataset.from_list([{"question": "How many?", "answer": "#### 1"}])
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: {"train": rows, "test": rows})
    settings, plan = asked(tiny, None, "tasks=gsm8k")
    with pytest.raises(UserError, match="gsm8k: 1 rows of all in openai/gsm8k; expected the published 3"):
        run.run_task(plan, settings, lambda: pytest.fail("it loads the model"), tmp_path)
    assert not (tmp_path / "result.json").exists()
