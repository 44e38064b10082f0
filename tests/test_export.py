"""export: the push to a stand-in for the hub, the folder, whole or not there, and its card; export-eval."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from transformers import GenerationConfig

from cada_trl import export, export_eval
from cada_trl.data.sources import read_twins
from cada_trl.data.split import pair_roles
from cada_trl.errors import UserError
from cada_trl.models.named import folder_identity
from cada_trl.readme import model_card, results_card
from cada_trl.records import read_jsonl
from cada_trl.report.records import read_evaluation
from cada_trl.report.run_record import read_run
from tests.end_to_end.tiny_model import save_tiny_model
from tests.hub_stand_in import Repository, running
from tests.report.made_up_evaluation import ScoreJudge, answers_most, refuses_most, write_evaluation
from tests.report.made_up_run import change_manifest, write_run


@pytest.fixture
def hub(monkeypatch):
    """The hub that huggingface_hub's own client talks to, by HTTP, and the token of someone who may write there."""
    with running() as hub:
        for name, value in {"ENDPOINT": hub.address, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield hub


def test_an_unfinished_run_is_refused_and_nothing_is_written(tmp_path):
    run = write_run(tmp_path / "run", n_steps=1)
    change_manifest(run, exit_state="interrupted")
    with pytest.raises(UserError, match=r"is not finished \(state: interrupted\)"):
        export.main([str(run)])
    assert not (run / "export").exists()


def test_evaluations_that_are_not_there_or_given_twice_are_one_line(run, tmp_path):
    with pytest.raises(UserError, match=r"no such folder"):
        export.main([str(run), f"evals={tmp_path}/typo"])
    with pytest.raises(UserError, match=r"^evals= names an evaluation twice"):
        export.main([str(run), f"evals={tmp_path}/a,{tmp_path}/../{tmp_path.name}/a"])


def test_an_existing_folder_is_refused_before_a_weight_is_read_and_left_alone(tmp_path):
    run = write_run(tmp_path / "run", n_steps=1)
    for words in (str(run), f"to={run / 'probes'}"), ("twins", f"to={run / 'probes'}"):
        with pytest.raises(UserError, match="probes exists; remove it, or choose another folder with to="):
            export.main([*words])
    assert len([*(run / "probes").iterdir()]) == 2


def test_the_hubs_refusal_is_one_line(tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_someone_else")
    with pytest.raises(UserError, match=r"cannot push to org/name: .*401.* is complete; see `hf auth login`") as error:
        export.push(tmp_path, "org/name", "model")
    assert "\n" not in str(error.value)
    assert hub.repositories == {}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_is_pushed_to_a_private_repository_of_models(run, hub):
    assert export.main([str(run)]) == 0
    assert hub.repositories == {}  # nothing is pushed unless asked
    assert export.main([str(run), f"to={run / 'again'}", "push=org/name"]) == 0
    assert hub.repositories == {"org/name": Repository("model", private=True, files=files(run / "export"))}
    assert "model.safetensors" in hub.repositories["org/name"].files


@pytest.mark.slow
def test_the_twins_are_pushed_with_their_card_and_split_as_they_are_trained_on(tmp_path, hub):
    target = tmp_path / "twins"
    assert export.main(["twins", f"to={target}", "push=org/twins"]) == 0
    assert hub.repositories == {"org/twins": Repository("dataset", private=True, files=files(target))}
    pairs = {name: {row["pair"] for _, row in read_jsonl(target / f"{name}.jsonl")} for name in ("train", "held_out")}
    assert not pairs["train"] & pairs["held_out"]
    assert pairs["held_out"] == pair_roles(read_twins().rows, ()).probe
    assert pairs["train"] | pairs["held_out"] == {row.pair for row in read_twins().rows}
    described = yaml.safe_load((target / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert described["license"] == "apache-2.0"
    assert [file["path"] for file in described["configs"][0]["data_files"]] == ["train.jsonl", "held_out.jsonl"]


def test_the_rates_of_an_evaluation_are_pushed_without_a_request_or_an_answer(tmp_path, hub):
    evaluation, target = write_evaluation(tmp_path / "after-2", refuses_most, ScoreJudge()), tmp_path / "results"
    assert export.main([str(evaluation), f"to={target}", "push=org/results"]) == 0
    assert hub.repositories["org/results"].files.keys() == {"README.md", "scores.json"}
    text = "".join(path.read_text(encoding="utf-8") for path in target.iterdir())
    assert "95 %" in text
    for attempt in read_evaluation(evaluation).attempts:
        assert attempt.item.request not in text


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "final"
    folder.mkdir()
    for name in ("model.safetensors", "modeling_own.py", "training_args.bin", "chat_template.jinja", "notes.txt"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools", encoding="utf-8")
    (folder / "config.json").write_text('{"_name_or_path": "/home/someone", "hidden_size": 2}', encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"name_or_path": "/home/someone", "eos_token": "x"}')
    (folder / "generation_config.json").write_text('{"eos_token_id": [2]}', encoding="utf-8")
    return folder


def test_only_what_a_user_loads_is_copied_and_no_path_of_the_trainer(weights, tmp_path):
    target = tmp_path / "out" / "model"
    export.write_model_folder(weights, "card", {"temperature": 0.7}, target)
    described = {"config.json", "tokenizer_config.json", "generation_config.json"}
    assert {path.name for path in target.iterdir()} == described | {
        "README.md",
        "model.safetensors",
        "modeling_own.py",
        "chat_template.jinja",
        "additional_chat_templates",
    }
    assert (target / "additional_chat_templates" / "tool_use.jinja").read_text(encoding="utf-8") == "tools"
    assert not [path for path in target.iterdir() if path.is_file() and "someone" in path.read_text(encoding="utf-8")]
    assert json.loads((target / "generation_config.json").read_text()) == {"eos_token_id": [2], "temperature": 0.7}


def test_a_full_disk_leaves_nothing(weights, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.shutil, "copyfile", full)
    with pytest.raises(UserError, match="No space left on device"):
        export.write_model_folder(weights, "card", {}, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.fixture
def run(tmp_path):
    """A finished run of a tiny model, whose manifest has the hashes of what was saved."""
    folder = write_run(tmp_path / "run", n_steps=1)
    save_tiny_model(folder / "final")
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["model"] |= {"context_tok": 2048, "eos": "<eot>", "pad": "<pad>"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    change_manifest(folder, model=folder_identity(folder / "final"))
    return folder


def test_what_the_run_saved_is_exported_and_samples_from_all_tokens_as_it_was_trained(run):
    assert export.main([str(run)]) == 0
    saved, exported = folder_identity(run / "final"), folder_identity(run / "export")
    assert exported["model.safetensors"] == saved["model.safetensors"]
    sampling = GenerationConfig.from_pretrained(run / "export")
    assert (sampling.do_sample, sampling.top_p, sampling.top_k) == (True, 1.0, 0)


DAMAGES = {
    "nothing in it": lambda content: b"",
    "garbage": lambda content: b"garbage " * 99,
    "cut off": lambda content: content[:-9],
    "other values": lambda content: content[:-8] + bytes(8),
}
EDITED, DAMAGED = "is not what the run saved, as its manifest.json has it; restore it", "safetensors is damaged: "


@pytest.mark.parametrize(
    ("damage", "hashed", "message"),
    [*((damage, True, EDITED) for damage in DAMAGES), *((damage, False, DAMAGED) for damage in [*DAMAGES][:3])],
)
def test_damaged_weights_are_not_exported(run, damage, hashed, message):
    file = run / "final" / "model.safetensors"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    if not hashed:  # a run of before the hashes
        change_manifest(run, model=None)
    with pytest.raises(UserError) as error:
        export.main([str(run)])
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(run.glob("export*"))


def test_inspect_lists_the_logs_and_a_second_export_is_the_same(tmp_path, capsys):
    log = pytest.importorskip("inspect_ai.log", reason="the extra inspect is not installed")
    folders = [write_evaluation(tmp_path / "a_1", answers_most), write_evaluation(tmp_path / "b_1", refuses_most)]
    for out in ("logs", "again"):
        assert export_eval.main([*map(str, folders), "--out", str(tmp_path / out)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.read_bytes() for path in paths[:2]] == [path.read_bytes() for path in paths[2:]]
    listed = log.list_eval_logs(str(tmp_path / "logs"))
    assert {Path(one.name).name for one in listed} == {path.name for path in paths[:2]}
    assert len({one.task_id for one in listed}) == 2  # inspect shows one log of an id
    assert {one.task_id for one in listed} == {log.read_eval_log(str(path)).eval.task_id for path in paths[:2]}


def test_a_folder_that_is_no_evaluation_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is no evaluation; expected evals/<name>"):
        export_eval.main([str(write_run(tmp_path / "run"))])


def test_without_inspect_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export_eval, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cada_trl\[inspect\]'"):
        export_eval.main([str(write_evaluation(tmp_path / "a", answers_most))])


GOLDEN = Path(__file__).parent / "golden_readme.md"
FIXED = {"config_hash": "0123abcd", "data_hash": "4567cdef", "git": {"commit": "0123456789abcdef", "dirty": False}}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    made_up = read_run(write_run(tmp_path_factory.mktemp("runs") / "made-up-s0"))
    return replace(made_up, manifest={**made_up.manifest, **FIXED})


def test_the_card_is_the_golden_one(record, tmp_path):
    evaluation = read_evaluation(write_evaluation(tmp_path / "after-2", refuses_most, ScoreJudge()))
    assert model_card(record, [evaluation]) == GOLDEN.read_text(encoding="utf-8")


def test_a_card_says_what_the_answer_follows(record):
    prompt = {**record.config["prompt"], "reasoning_as": "think"}
    written = model_card(replace(record, config={**record.config, "prompt": prompt}))
    assert 'follows "</think>"' in written and "### Final Response" not in written


def test_a_card_of_a_model_that_was_taught_no_analysis_promises_none(record):
    algo = {**record.config["algo"], "targets": "direct_refusal"}
    assert "### Final Response" not in model_card(replace(record, config={**record.config, "algo": algo}))


def test_a_card_says_how_each_evaluation_was_asked_and_once_what_they_do_not_cover(record, tmp_path):
    whole = read_evaluation(write_evaluation(tmp_path / "after-2", refuses_most))
    limited = {**whole.config, "prompt": {"arm": "cases", "cases_as": "turns"}, "limit": 25}
    part = replace(whole, config=limited)
    written = model_card(record, [whole, part])
    assert "| PAIR (transfer) | the request alone |" in written
    assert "| PAIR (transfer) | arm cases, cases as turns |" in written
    for text in (written, results_card(part)):
        assert text.count("Attacks marked transfer") == text.count("At most 25 items per benchmark") == 1


def test_what_one_evaluation_lacks_is_not_said_of_the_other(record, tmp_path, monkeypatch):
    monkeypatch.setattr("cada_trl.readme.eval_not_run", lambda one: ["True of all.", f"True of {one.path.name}."])
    both = [read_evaluation(write_evaluation(tmp_path / name, refuses_most)) for name in ("a", "b")]
    written = model_card(record, both)
    assert written.count("- True of all.\n") == 1
    assert all(f"- The evaluation on StrongREJECT, XSTest, safe: True of {name}.\n" in written for name in ("a", "b"))


def test_an_evaluation_of_what_was_exported_is_one_of_the_run():
    saved = {"model.safetensors": "a", "config.json": "b", "generation_config.json": "c"}
    assert export._unchanged(saved) == export._unchanged({**saved, "config.json": "x", "generation_config.json": "y"})
    assert export._unchanged(saved) != export._unchanged({**saved, "model.safetensors": "z"})


def test_a_base_in_a_folder_is_named_without_its_path(record):
    model = {**record.config["model"], "source": "folder", "path": "/home/someone/base", "name": "mine"}
    written = model_card(replace(record, config={**record.config, "model": model}))
    assert "/home/someone" not in written and "base_model" not in written and "mine trained by" in written


def test_neither_requests_nor_completions_nor_keys_are_in_a_card(record):
    secret = {"wire": "kl", "action": "warn", "step": 3, "name": "train", "seen": "token=hunter2-hunter2"}
    written = model_card(replace(record, tripwires=[secret]))
    assert "Made-up" not in written and "can't help" not in written
    assert "kl (warn) at step 3" in written and "hunter2" not in written


def test_a_card_without_evaluations_says_so(record):
    assert "None was given to the export." in model_card(record)
