"""The verb whole, on made-up folders written by the project's own writers."""

import json
from dataclasses import asdict

import pytest

from cada_trl.document.blocks import Bullets
from cada_trl.document.render import markdown
from cada_trl.errors import UserError
from cada_trl.records import Request, write_jsonl
from cada_trl.storage.digest import read_config
from cada_trl.storage.files import read_json, replace_yaml
from cada_trl.why import explain, main
from tests.report.made_up_evaluation import answers_most, number, refuses_most, write_evaluation
from tests.report.made_up_run import change_manifest, write_run


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / name, 0, 3) for name in ("a", "b")]


@pytest.fixture
def evaluations(tmp_path):
    return [write_evaluation(tmp_path / name, answers_most) for name in ("a", "b")]


def sentences(document):
    """What is said in short."""
    (block,) = document.sections[0].blocks
    assert isinstance(block, Bullets)
    return list(block.sentences)


def in_short(a, b):
    return " ".join(sentences(explain([a, b])))


def test_the_same_run_twice_does_not_part_and_its_probes_are_even(runs):
    found = explain(runs)
    assert "One configuration: no key that decides the result differs." in sentences(found)
    assert any("They do not part: all 3 steps" in one for one in sentences(found))
    paired = found.twin["probes_after"]["harmful"]["paired"]["answered_frac"]
    assert paired["difference"] == 0
    assert paired["low"] < 0 < paired["high"]


def test_a_key_that_decides_the_result_is_named_and_a_seed_is_no_other_experiment(tmp_path):
    a, b, c = (
        write_run(tmp_path / name, seed, 2, lr) for name, seed, lr in (("a", 0, 2e-5), ("b", 1, 2e-5), ("c", 0, 1e-5))
    )
    assert "One configuration, drawn twice (seed)" in in_short(a, b)
    assert "They part at step 1, first in its numbers" in in_short(a, b)
    assert "Two experiments: they differ in algo.lr, which decides the result." in in_short(a, c)


def test_a_tolerance_is_of_runs_alone(evaluations):
    with pytest.raises(UserError, match=r"--tolerance 0\.5 is of two runs' metrics"):
        explain(evaluations, 0.5)


def test_markdown_and_json_twins_are_written_on_request(runs, tmp_path, capsys):
    assert main([*map(str, runs), "--out", str(tmp_path / "out")]) == 0
    twin = json.loads((tmp_path / "out" / "why.json").read_text(encoding="utf-8"))
    assert twin["parting"]["step"] is None
    assert "## Where they part" in (tmp_path / "out" / "why.md").read_text(encoding="utf-8")
    assert "Where they part" in capsys.readouterr().out


def test_shared_training_requests_are_counted_where_the_prepared_sets_are_here(runs, tmp_path):
    for path, ids in zip(runs, (["r1", "r2"], ["r2", "r3", "r4"]), strict=True):
        change_manifest(path, data={"name": f"set-{path.name}"}, data_hash=path.name)
        replace_yaml(path / "config.yaml", read_config(path) | {"data_dir": str(tmp_path)})
        requests = [Request(one, f"text {one}", "privacy", True, "made up") for one in ids]
        write_jsonl(tmp_path / f"set-{path.name}" / "train.jsonl", map(asdict, requests))
        rows = [{"request_id": ids[0], "completion": "No.", "verdict": "REFUSED", "reward": 0.0}]
        write_jsonl(path / "completions" / "step_000001.jsonl", rows)
    found = explain(runs)
    assert found.twin["data"]["ids_a_b_shared"] == {"train, as prepared": [2, 3, 1], "asked in training": [1, 1, 0]}
    assert "They part at step 1, first in its requests." in sentences(found)[2]


def test_two_evaluations_are_compared_response_by_response(tmp_path):
    a = write_evaluation(tmp_path / "a", answers_most)
    b = write_evaluation(tmp_path / "b", refuses_most)
    found = explain([a, b])
    assert 0 < found.twin["responses"]["differ"] <= found.twin["responses"]["shared"]
    change = found.twin["compared"]["cells"][0]["complied"]
    assert change["low"] <= change["difference"] <= change["high"]
    assert "Rates" in markdown(found)


def test_an_evaluation_whose_last_call_did_not_finish_is_refused(evaluations):
    change_manifest(evaluations[1], exit_state="interrupted")
    with pytest.raises(UserError, match=r"b is not finished \(state: interrupted\)"):
        explain(evaluations)


def test_rewards_of_two_tables_are_not_compared(runs):
    file = runs[0] / "config.yaml"
    file.write_text(file.read_text().replace("reasoned_refusal: 1.0", "reasoned_refusal: 0.5"))
    paired = explain(runs).twin["probes_after"]["harmful"]["paired"]
    assert paired["reward_mean"]["difference"] is None
    assert paired["reasoned_refusal_frac"]["difference"] is not None


def test_verdicts_of_two_judges_are_not_compared_and_what_none_decides_is(runs):
    change_manifest(runs[1], judge_id="another")
    found = explain(runs)
    one = found.twin["probes_after"]["harmful"]
    assert one["paired"]["reasoning_frac"]["n_pairs"] == 60
    measures = ("reasoned_refusal_frac", "answered_frac", "reward_mean")
    assert [one["paired"][measure]["difference"] for measure in measures] == [None] * 3
    assert one["a"]["answered_frac"]["rate"] == one["b"]["answered_frac"]["rate"] is not None
    assert markdown(found).count("Different judges: judge both by one of them") == 2  # before and after training


def test_two_evaluations_of_other_weights_under_one_configuration_are_said_to_differ_in_them(evaluations):
    decides = read_json(evaluations[1] / "manifest.json")["decides"]
    change_manifest(evaluations[1], decides=decides | {"model": {"model.safetensors": "edited"}})
    assert "Beside the configuration differ: decides.model." in in_short(*evaluations)


def test_the_larger_min_coverage_of_two_evaluations_withholds_in_either_order(tmp_path):
    def half(attempt):
        return "" if number(attempt) % 2 else answers_most(attempt)

    loose = write_evaluation(tmp_path / "a", answers_most, min_coverage=0.3)
    strict = write_evaluation(tmp_path / "b", half, min_coverage=0.9)
    for two in ([loose, strict], [strict, loose]):
        change = explain(two).twin["compared"]["cells"][0]["complied"]
        assert change["difference"] is None and change["withheld"].endswith("less than min_coverage 90 %")


def test_a_run_and_an_evaluation_have_nothing_to_explain(tmp_path):
    two = [write_run(tmp_path / "a", 0, 1), write_evaluation(tmp_path / "e", answers_most)]
    with pytest.raises(UserError, match="expected two training runs or two evaluations"):
        explain(two)


def test_an_unfinished_run_and_one_without_its_manifest_are_refused(runs):
    change_manifest(runs[1], exit_state="interrupted")
    with pytest.raises(UserError, match=r"b did not finish \(state: interrupted; last step 3\)"):
        explain(runs)
    (runs[1] / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        explain(runs)


def test_trained_weights_are_compared_where_both_are_kept(runs):
    assert "not in both folders" in in_short(*runs)
    for path in runs:
        (path / "final").mkdir()
        (path / "final" / "model.safetensors").write_bytes(b"weights")
    assert "The trained weights are the same, bit for bit." in in_short(*runs)
    (runs[1] / "final" / "model.safetensors").write_bytes(b"others!")
    assert "The trained weights are not the same." in in_short(*runs)
