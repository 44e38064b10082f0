"""The utility verb whole, on a tiny model and a few rows: results on disk, asked once, compared in pairs."""

import json
from importlib.util import find_spec

import pytest
from end_to_end.tiny_model import save_tiny_model, tiny_model
from evaluation.utility.conftest import data_root, small_tasks  # noqa: F401

from cada_trl.errors import UserError
from cada_trl.evaluation.utility import task
from cada_trl.records import read_jsonl
from cada_trl.utility import main

pytestmark = pytest.mark.usefixtures("small_tasks")


needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")


@pytest.fixture
def words(tmp_path, tiny, data_root):  # noqa: F811
    return [f"model={tiny}", f"data_root={data_root}", f"utility_dir={tmp_path / 'utility'}", "max_answer_tok=4"]


def results(tmp_path):
    found = sorted((tmp_path / "utility").glob("*/*/result.json"))
    return {path.parent.name.rsplit("-", 1)[0]: json.loads(path.read_text(encoding="utf-8")) for path in found}


@pytest.mark.slow
@needs_lm_eval
def test_every_task_gets_a_result_with_its_samples_and_a_manifest(words, tmp_path):
    assert main(words) == 0
    found = results(tmp_path)
    assert {name: result["n"] for name, result in found.items()} == {"gsm8k": 3, "bbh": 3, "mmlu": 5, "mmlu_plain": 5}
    for name, result in found.items():
        accuracy = result["accuracy"]
        assert accuracy["n"] == accuracy["asked"] == result["n"]
        assert 0 <= accuracy["low"] <= accuracy["value"] == result["lm_eval"]["accuracy"] <= accuracy["high"] <= 1
        assert result["prompts_cut"] == 0, name
        assert set(result["versions"]) == {"lm_eval", "transformers", "torch", "datasets"}
        assert result["plan"]["lm_eval"] == result["versions"]["lm_eval"]
    folder = next((tmp_path / "utility").iterdir())
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert folder.name.startswith("tiny-")
    assert manifest["exit_state"] == "done"
    assert "model.safetensors" in manifest["model"]["identity"]
    samples = [row for _, row in read_jsonl(next(folder.glob("mmlu-*")) / "samples.jsonl")]
    assert [(row["subset"], row["row"]) for row in samples] == [
        *(("anatomy", row) for row in range(3)),
        *(("astronomy", row) for row in range(2)),
    ]
    for row in samples:
        logps = [logp for logp, _ in row["response"]]
        assert row["correct"]["none"] == (logps.index(max(logps)) == row["target"])


@needs_lm_eval
def test_a_finished_task_is_not_asked_again(words, tmp_path, monkeypatch, capsys):
    main([*words, "tasks=gsm8k"])
    before = results(tmp_path)
    monkeypatch.setattr("cada_trl.evaluation.utility.run.load_lm", lambda settings: pytest.fail("it loads the model"))
    assert main([*words, "tasks=gsm8k"]) == 0
    assert results(tmp_path) == before
    assert "GSM8K" in capsys.readouterr().out


@needs_lm_eval
def test_a_run_that_broke_off_leaves_no_result_and_goes_on_with_its_answers(words, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("cada_trl.evaluation.utility.run.accuracies", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main([*words, "tasks=gsm8k"])
    assert results(tmp_path) == {}
    folder = next((tmp_path / "utility").iterdir())
    state = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["exit_state"]
    assert state == "failed: division by zero"
    answers = next(folder.glob("gsm8k-*/answers.jsonl")).read_bytes()
    main([*words, "tasks=gsm8k"])
    assert next(folder.glob("gsm8k-*/answers.jsonl")).read_bytes() == answers
    assert set(results(tmp_path)) == {"gsm8k"}


@needs_lm_eval
def test_another_limit_or_other_data_is_another_task_folder(words, tmp_path):
    main([*words, "tasks=gsm8k", "limit=1"])
    main([*words, "tasks=gsm8k", "limit=2"])
    data = tmp_path / "data" / "gsm8k" / "test.jsonl"
    data.write_text(data.read_text(encoding="utf-8").replace("Ann", "Ben"), encoding="utf-8")
    main([*words, "tasks=gsm8k", "limit=2"])
    (folder,) = (tmp_path / "utility").iterdir()
    assert len(list(folder.glob("gsm8k-*/result.json"))) == 3


@pytest.mark.slow
@needs_lm_eval
def test_other_weights_are_another_folder_and_are_compared_in_pairs(words, tmp_path, capsys):
    main([*words, "tasks=mmlu_plain"])
    before = next((tmp_path / "utility").iterdir())
    with pytest.raises(UserError, match=r"against=.* is of this very model, .*; give another one's"):
        main([*words, "tasks=mmlu_plain", f"against={before}"])
    other = save_tiny_model(tmp_path / "other" / "tiny")
    tiny_model(seed=1).save_pretrained(other)
    main([f"model={other}", *words[1:], "tasks=mmlu_plain", f"against={before}"])
    assert len(list((tmp_path / "utility").iterdir())) == 2
    shown = capsys.readouterr().out
    assert "McNemar" in shown and "lm-eval ± se" in shown and f" against {before.name}" in shown
    with pytest.raises(UserError, match=r"has none of gsm8k-.*expected the same tasks"):
        main([f"model={other}", *words[1:], "tasks=gsm8k", f"against={before}"])


def test_without_lm_eval_the_extra_is_named(words, monkeypatch):
    monkeypatch.setattr(task, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cada_trl\[utility\]'"):
        main(words)


@needs_lm_eval
def test_a_hub_that_cannot_be_reached_is_one_line(words, tmp_path, monkeypatch):
    import datasets

    def unreachable(*args, **kwargs):
        raise ConnectionError("Couldn't reach 'openai/gsm8k' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"gsm8k: cannot load its data .*openai/gsm8k.*; data_root=<folder"):
        main([*words, "tasks=gsm8k", "data_root=null"])
    assert results(tmp_path) == {}
