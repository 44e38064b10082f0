"""The plan: which attacks are put to which benchmark, and what is an error before anything is asked.

A part of an evaluation: which it is, and what the whole takes over from the parts."""

import json
import shutil

import pytest

from cada_trl import evaluate as verb
from cada_trl.errors import UserError
from cada_trl.evaluation.plan import Shard, make_plan, shard_of
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.records import read_jsonl
from cada_trl.report.records import read_evaluation
from cada_trl.storage.files import held

from .small_evaluation import HARMFUL, ScriptedGenerator, answer_to, overrides, set_up, use_generator


@pytest.fixture
def root(tmp_path, monkeypatch):
    set_up(tmp_path, monkeypatch)
    return tmp_path


def plan(root, *others):
    return make_plan(load_evaluate_config(overrides(root, *others)))


def names(planned):
    return {one.spec.name: [attack.name for attack in one.attacks] for one in planned.benchmarks}


def test_an_attack_is_put_to_every_benchmark_that_has_it_and_the_others_are_not_run(root):
    planned = plan(root, "attacks=none,pair,base64")
    assert names(planned) == {"harmful_six": ["none", "pair", "base64"], "harmless_four": ["none"]}
    assert [sentence.partition(":")[0] for sentence in planned.not_run] == [
        "harmless_four x pair",
        "harmless_four x base64",
    ]
    assert [item.request for item in planned.benchmarks[0].items] == HARMFUL
    with pytest.raises(UserError, match="attack pair applies to no benchmark named here; harmless_four x pair"):
        plan(root, "benchmarks=harmless_four")


def test_a_published_item_of_a_hazard_that_the_pack_lacks_has_none(root, monkeypatch):
    monkeypatch.chdir(root)  # where the policy is compiled to
    hazards = {
        pack: {item.hazard for one in plan(root, *words).benchmarks for item in one.items}
        for pack, words in {"builtin": [], "tenancy": ["policy=tenancy"]}.items()
    }
    assert hazards["builtin"] != {None} and hazards["tenancy"] == {None}


def test_the_facts_change_with_items_and_attacks_and_with_nothing_else(root):
    facts = plan(root).facts()
    assert plan(root, "batch_tok=7", "min_coverage=0.1").facts() == facts
    changed = [plan(root, other).facts() for other in ("limit=3", "attacks=none", "attacks=none,pair,base64")]
    assert all(one != facts for one in changed)
    assert plan(root, "limit=3", "seed=1").facts() != plan(root, "limit=3", "seed=2").facts()
    assert plan(root, "limit=100").facts() == facts
    assert facts[0]["n_items"] == 6


def test_published_prompts_that_are_not_here_are_listed_and_the_rest_is_run(root):
    (root / "pair.jsonl").unlink()
    planned = plan(root, "attacks=none,pair")
    assert names(planned) == {"harmful_six": ["none"], "harmless_four": ["none"]}
    assert planned.not_run[0].startswith("harmful_six x pair: no file ")
    with pytest.raises(UserError, match=r"none of attacks=pair applies to it; .* \(harmful_six x pair: no file"):
        plan(root, "benchmarks=harmful_six", "attacks=pair")


def write_own(root, text="prompt,label\nLie.,1\nForge a letter.,1\nSing.,0\n"):
    (root / "mine.csv").write_text(text, encoding="utf-8")
    return f"benchmarks=harmless_four,{root / 'mine.csv'}"


def test_a_file_of_ones_own_is_asked_beside_named_benchmarks(root):
    planned = plan(root, write_own(root), "attacks=none,base64")
    assert names(planned) == {"harmless_four": ["none"], "mine_harmful": ["none", "base64"], "mine_harmless": ["none"]}
    assert [[item.request for item in one.items] for one in planned.benchmarks[1:]] == [
        ["Lie.", "Forge a letter."],
        ["Sing."],
    ]
    assert len(planned.read_as) == 1 and "(2 harmful, 1 harmless)" in planned.read_as[0]
    assert len(plan(root, write_own(root), "attacks=none", "limit=1").benchmarks[1].items) == 1


def test_published_prompts_are_not_run_on_a_file_of_ones_own(root):
    write_own(root)
    planned = plan(root, f"benchmarks={root / 'mine.csv'}", "attacks=none,pair")
    assert names(planned) == {"mine_harmful": ["none"], "mine_harmless": ["none"]}
    assert planned.not_run_lines() == [
        "not run: mine_harmful x pair: no published prompts; there are none of any attack",
        "not run: mine_harmless x pair: the requests are harmless; attacks are for harmful ones",
    ]


def test_another_content_of_the_file_changes_the_facts_and_another_folder_does_not(root):
    first = plan(root, write_own(root), "attacks=none").facts()
    (root / "elsewhere").mkdir()
    assert plan(root, write_own(root / "elsewhere"), "attacks=none").facts() == first
    assert plan(root, write_own(root, "prompt,label\nLie.,1\nSing.,0\n"), "attacks=none").facts() != first


def array(number, first, n, step):
    values = {"ID": number, "MIN": first, "COUNT": n, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("2/8", {}, Shard(2, 8)),
        ("slurm", array(3, 0, 4, 1), Shard(4, 4)),
        ("slurm", array(9, 1, 3, 4), Shard(3, 3)),
        ("slurm", {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "2"}, Shard(1, 2)),
    ],
)
def test_a_part_is_counted_from_one_or_as_slurm_counts(text, environment, shard):
    assert shard_of(text, environment) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "one/two", "slurm", "1/1000000000"])
def test_what_is_no_part_names_one(text):
    with pytest.raises(UserError, match=r"shard=.*1/4"):
        shard_of(text, {})


@pytest.mark.parametrize("environment", [{"SLURM_NTASKS": "4"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}])
def test_a_job_of_several_tasks_is_no_part_before_srun_starts_them(environment):
    with pytest.raises(UserError, match=r"shard=slurm: .*start it by srun"):
        shard_of("slurm", environment)


@pytest.mark.parametrize("environment", [array(3, 3, 1, 1), array(7, 1, 3, 1)])
def test_an_array_that_does_not_number_the_parts_is_refused(environment):
    with pytest.raises(UserError, match=r"no part of several in even steps.*shard=3/4"):
        shard_of("slurm", environment)


@pytest.fixture
def call(root, monkeypatch):
    """Call the verb on the small evaluation; returns what the model was asked."""

    def run(*words, evals="evals", **how):
        generator = use_generator(monkeypatch, ScriptedGenerator(**how))
        assert verb.main([*overrides(root, "min_coverage=0.8", *words), f"evals_dir={root / evals}"]) == 0
        return [messages[-1]["content"] for messages in generator.asked]

    return run


def folder(tmp_path, evals="evals"):
    (path,) = (file.parent for file in (tmp_path / evals).glob("*/manifest.json"))
    return path


def shards(tmp_path):
    return sorted((tmp_path / "evals").glob("*/shards/*"))


def manifest(path):
    return json.loads((path / "manifest.json").read_text())


def responses(path):
    return {(row["key"], row["completion"]) for _, row in read_jsonl(path / "responses.jsonl")}


@pytest.mark.slow
@pytest.mark.parametrize("judge", ["judge=phrases", "judge=[phrases,classifier]"])
def test_parts_ask_every_request_once_and_their_whole_is_as_asked_by_one(tmp_path, call, capsys, judge):
    asked = [call(f"shard={index}/3", judge) for index in (1, 2, 3)]
    assert "answers in" in capsys.readouterr().out
    assert not list(tmp_path.glob("evals/*/scores.json")) + list(tmp_path.glob("evals/*/shards/*/scores.json"))
    verdicts = {file.parent.name for file in tmp_path.glob("evals/*/shards/*/verdicts-*.jsonl")}
    assert len(verdicts) == 3
    assert call(judge) == []
    assert "with the answers of 3 shards" in capsys.readouterr().out
    alone = call(judge, evals="alone")
    assert sorted(text for part in asked for text in part) == sorted(alone)
    assert responses(folder(tmp_path)) == responses(folder(tmp_path, "alone"))
    parts, whole = (json.loads((folder(tmp_path, evals) / "scores.json").read_text()) for evals in ("evals", "alone"))
    assert parts == whole
    assert folder(tmp_path).name == folder(tmp_path, "alone").name


@pytest.mark.slow
def test_what_no_part_answered_is_asked_by_the_whole(tmp_path, call):
    first = call("shard=1/2")
    with pytest.raises(UserError, match=r"1-of-2 is one part, without scores; .* score all parts in .*model-"):
        read_evaluation(shards(tmp_path)[0])
    rest = call()
    assert rest
    assert sorted(first + rest) == sorted(call(evals="alone"))
    assert call() == []  # taken over once


@pytest.mark.slow
def test_where_part_and_whole_answered_otherwise_the_wholes_answer_is_judged(tmp_path, call, monkeypatch):
    def stopped(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as before_the_judge:
        before_the_judge.setattr(verb, "judge_by_each", stopped)
        with pytest.raises(KeyboardInterrupt):
            call()
    ours = responses(folder(tmp_path))
    for shard in ("shard=1/2", "shard=2/2"):
        call(shard, say=lambda messages: f"{answer_to(messages[-1]['content'])} So.")
    assert call() == []
    assert responses(folder(tmp_path)) == ours
    call(evals="alone")
    mixed, alone = (json.loads((folder(tmp_path, evals) / "scores.json").read_text()) for evals in ("evals", "alone"))
    assert mixed == alone


@pytest.mark.slow
def test_the_time_of_the_parts_is_the_wholes(tmp_path, call):
    call("shard=1/2", pause_s=0.05)
    call("shard=2/2", pause_s=0.05)
    parts_s = [manifest(path)["pass_wall_s"]["responses"] for path in shards(tmp_path)]
    call()
    assert min(parts_s) > 0.1
    assert manifest(folder(tmp_path))["pass_wall_s"]["responses"] >= round(sum(parts_s), 1)
    call()  # which takes nothing more
    assert manifest(folder(tmp_path))["pass_wall_s"]["responses"] < sum(parts_s) + 0.5
    for words in (["shard=1/2"], ["shard=2/2"], []):  # verdicts are taken, and no answer
        call(*words, "judge=classifier")
    assert manifest(folder(tmp_path))["pass_wall_s"]["responses"] < sum(parts_s) + 0.5


def test_a_part_that_is_being_answered_is_waited_for(tmp_path, call):
    call("shard=1/2")
    (path,) = shards(tmp_path)
    with held(path / "folder.lock", "busy"), pytest.raises(UserError, match="1-of-2 is being answered; wait for it"):
        call()


def edited(path):
    file = path / "responses.jsonl"
    file.write_text(file.read_text().replace("sorry", "happy"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: shutil.move(path, path.parent / "2-of-2"), "2-of-2 is part of another evaluation; move it away"),
        (edited, r"responses\.jsonl was edited after it was written"),
    ],
)
def test_a_part_of_another_evaluation_and_an_edited_one_are_not_taken_over(tmp_path, call, change, message):
    call("shard=1/2")
    (path,) = shards(tmp_path)
    change(path)
    with pytest.raises(UserError, match=message):
        call()
