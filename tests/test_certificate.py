"""The certificate: what it holds, that it is made again from its files, and which evaluations say nothing."""

import json
import shutil

import pytest
import yaml
from evaluation.small_evaluation import write_model
from report.made_up_evaluation import HarmJudge, ScoreJudge, answers_most, refuses_most, write_evaluation
from report.made_up_run import change_manifest

from cada_trl.certificate import main
from cada_trl.config import ModelConfig
from cada_trl.config.loading import check_values
from cada_trl.errors import UserError
from cada_trl.hazards.pack import BUILTIN_DIR, load_pack, pack_hash
from cada_trl.models.named import folder_identity, model_fingerprint
from cada_trl.report.records import read_evaluation
from cada_trl.storage.digest import file_sha256, kept


def evaluation(path, weights, answers, **others):
    """A finished one of the model in the folder, with hashes of its rows."""
    write_evaluation(path, answers, model={"source": "folder", "path": str(weights), "revision": None}, **others)
    decides = {"model": folder_identity(weights), "generator": "scripted"}
    change_manifest(path, decides=decides, files=kept(path))
    return path


@pytest.fixture
def before(tmp_path):
    return evaluation(tmp_path / "evals/before", write_model(tmp_path / "base"), answers_most)


@pytest.fixture
def after(tmp_path):
    return evaluation(tmp_path / "evals/after", write_model(tmp_path / "trained", b"\1" * 16), refuses_most)


@pytest.fixture
def made(before, after, tmp_path):
    assert main([str(before), str(after), "--out", str(tmp_path / "out")]) == 0
    return tmp_path / "out/certificate.json"


@pytest.fixture
def check(made, capsys):
    def again():
        capsys.readouterr()
        code = main(["--check", str(made)])
        return code, capsys.readouterr().out

    return again


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_page_and_json_hold_rates_pairs_judge_gaps_and_hashes(made):
    said = json.loads(made.read_text(encoding="utf-8"))
    assert [name.split("/")[0] for name in said["rates"]] == ["strongreject"] * 8 + ["xstest_safe"] * 4
    refused = said["rates"]["strongreject/none/all"]
    assert (refused["measure"], refused["before"]["value"]) == ("refused", 0.25)
    assert refused["change"]["before"] == pytest.approx(6 / 23)  # one response after is empty
    assert refused["after"]["successes"] == 19 and refused["change"]["difference"] > 0
    assert refused["before"]["low"] < 0.25 < refused["before"]["high"]
    assert "Benchmarks: held-out twins." in said["not_tested"]
    assert [next(iter(files)) for files in said["weights"].values()] == ["config.json"] * 2
    assert {"../evals/after/responses.jsonl", "package:hazards/assets/07_hate.yaml"} <= said["files"].keys()
    page = made.with_suffix(".html").read_text(encoding="utf-8")
    assert all(said["files"][name] in page for name in said["files"] if name != "certificate.html")
    assert f"python -m cada_trl.certificate --check {made}<" in page
    assert '="http' not in page and f"Agreement of the judge {said['judge']} with people" in page


def test_it_is_made_again_from_its_files_and_those_that_are_gone_are_named(made, tmp_path, check, capsys):
    assert check() == (0, f"{made}: every number is made again the same, and every file has its hash\n")
    (tmp_path / "evals").rename(tmp_path / "elsewhere")
    code, out = check()
    assert code == 2 and f"missing: {tmp_path / 'evals/after/responses.jsonl'}" in out
    assert "cannot be made again: no such folder" in out


def test_it_is_made_again_through_a_link_to_its_folder(made, tmp_path, capsys):
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    (deep / "link").symlink_to(made.parent)
    assert main(["--check", str(deep / "link" / made.name)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", ["config.yaml", "responses.jsonl", "verdicts-phrases-aff5c461.jsonl", "manifest.json"])
def test_an_edited_file_of_an_evaluation_is_named(name, after, check):
    file = next(after.glob(name.replace("aff5c461", "*")))
    file.write_bytes(file.read_bytes() + b"\n")
    code, out = check()
    assert code == 2 and f"edited: {file}: SHA-256 " in out


def test_verdicts_that_were_turned_with_their_hashes_are_other_numbers(after, check):
    (file,) = after.glob("verdicts-*.jsonl")
    edit(file, '"REFUSED"', '"COMPLIED"')
    change_manifest(after, files=kept(after))
    code, out = check()
    assert code == 2 and "does not hold the scores of this folder's responses and verdicts" in out


def test_an_edited_number_of_the_certificate_is_named(made, check):
    edit(made, '"successes": 19', '"successes": 20')
    code, out = check()
    assert (code, out.count("\n")) == (2, 1)
    assert out.startswith("differs: rates.strongreject/none/all.after.successes: the certificate has 20, made again 19")


def test_a_name_in_anothers_certificate_steers_no_terminal(made, check):
    edit(made, '"files": {', '"files": {"\\u001b[2J": "",')
    code, out = check()
    assert code == 2 and "\\x1b[2J" in out and "\x1b" not in out


def test_other_weights_and_another_page_are_named(made, tmp_path, check):
    page = made.with_suffix(".html")
    without = json.loads(made.read_text(encoding="utf-8"))
    del without["files"][page.name]
    (made.with_name("without.json")).write_text(json.dumps(without), encoding="utf-8")
    assert main(["--check", str(made.with_name("without.json"))]) == 2
    page.unlink()
    (tmp_path / "trained/generation_config.json").write_text("{}", encoding="utf-8")
    code, out = check()
    assert code == 2 and f"missing: {made.with_suffix('.html')}\n" in out
    assert "the model of" in out and f"is another now: generation_config.json of {tmp_path}/trained" in out


def refusal(*words):
    with pytest.raises(UserError) as error:
        main([str(word) for word in words])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_certificate_is_one_line(made, tmp_path):
    made.write_text(made.read_text(encoding="utf-8")[:-100], encoding="utf-8")
    assert "is not a JSON object" in refusal("--check", made)
    made.write_text('{"format": 1}', encoding="utf-8")
    assert "certificate: made_by: Field required" in refusal("--check", made)
    assert "No such file" in refusal("--check", tmp_path / "none.json")


def test_two_evaluations_of_one_model_are_refused(before, tmp_path):
    same = evaluation(tmp_path / "evals/again", tmp_path / "base", refuses_most)
    assert "are of one model, by its weights; expected the untrained one and the trained one" in refusal(before, same)
    copy = write_model(tmp_path / "copy")
    (copy / "generation_config.json").write_text("{}", encoding="utf-8")
    assert "are of one model, by its weights" in refusal(
        before, evaluation(tmp_path / "evals/copy", copy, refuses_most)
    )


@pytest.mark.parametrize("began", ["base", "other"])
def test_a_training_that_began_from_another_model_than_the_one_before_has_a_warning(before, tmp_path, began):
    after = evaluation(tmp_path / "evals/after", write_model(tmp_path / "run/final", b"\1" * 16), refuses_most)
    write_model(tmp_path / "other", b"\2" * 16)
    (tmp_path / "run/config.yaml").write_text("run_name: null\n", encoding="utf-8")
    model = check_values(ModelConfig, read_evaluation(before).config["model"] | {"path": str(tmp_path / began)})
    (tmp_path / "run/manifest.json").write_text(
        json.dumps({"initial_model": model_fingerprint(model)}), encoding="utf-8"
    )
    assert main([str(before), str(after), "--out", str(tmp_path / "out")]) == 0
    warnings = json.loads((tmp_path / "out/certificate.json").read_text(encoding="utf-8"))["warnings"]
    assert any("began from another model" in one for one in warnings) is (began == "other")


def test_another_judge_suite_or_decoding_is_refused(before, after, tmp_path):
    weights = tmp_path / "trained"
    judged = evaluation(tmp_path / "evals/judged", weights, refuses_most, judge=ScoreJudge())
    assert "were judged by two judges, phrases-" in refusal(before, judged)
    less = evaluation(tmp_path / "evals/less", weights, refuses_most, benchmarks=["strongreject"])
    assert "attacks of xstest_safe x none are not the same in both" in refusal(before, less)
    looser = evaluation(tmp_path / "evals/looser", weights, refuses_most, min_coverage=0.5)
    assert "have two min_coverage, 0.9 and 0.5; score both with one" in refusal(before, looser)
    change_manifest(after, decides={"model": folder_identity(weights), "generator": "other"})
    assert "were asked in two ways (generator: scripted and other)" in refusal(before, after)


def test_two_attackers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("cada_trl.evaluation.attacks.GENERATED", ("pair",))
    before = evaluation(tmp_path / "a", write_model(tmp_path / "base"), answers_most)
    after = evaluation(tmp_path / "b", write_model(tmp_path / "trained", b"\1" * 16), refuses_most)
    edit(after / "config.yaml", "n_streams: 5", "n_streams: 1")
    change_manifest(after, files=kept(after))
    assert "were attacked by two attackers, {'attacker_llm': None, 'n_streams': 5" in refusal(before, after)


def test_an_unfinished_one_is_refused(before, after):
    change_manifest(before, exit_state="interrupted")
    assert "is not finished (state: interrupted)" in refusal(before, after)


def test_two_evaluations_of_harm_alone_are_refused(tmp_path):
    before = evaluation(tmp_path / "a", write_model(tmp_path / "base"), answers_most, judge=HarmJudge())
    after = evaluation(tmp_path / "b", write_model(tmp_path / "trained", b"\1" * 16), refuses_most, judge=HarmJudge())
    assert "has no rate" in refusal(before, after)


def test_the_trained_model_first_is_refused(before, after, tmp_path):
    run = tmp_path / "run"
    final = write_model(run / "final", b"\2" * 16)
    (run / "config.yaml").write_text(yaml.safe_dump({"run_name": None, "hazards": "builtin"}), encoding="utf-8")
    (run / "manifest.json").write_text('{"judge_id": "another"}', encoding="utf-8")
    trained = evaluation(tmp_path / "evals/trained", final, refuses_most)
    assert "is of a trained model and" in refusal(trained, before)
    assert main([str(before), str(trained), "--out", str(tmp_path / "out")]) == 0
    files = json.loads((tmp_path / "out/certificate.json").read_text(encoding="utf-8"))["files"]
    assert {"../run/config.yaml", "../run/manifest.json"} <= files.keys()


def test_twins_and_a_case_pack_that_are_others_than_when_they_were_used_have_a_warning(before, tmp_path):
    pack, trained_on, asked = tmp_path / "pack", tmp_path / "trained_on.jsonl", tmp_path / "asked.jsonl"
    shutil.copytree(BUILTIN_DIR, pack)
    trained_on.write_text("1\n", encoding="utf-8")
    asked.write_text("2\n", encoding="utf-8")
    weights = write_model(tmp_path / "run/final", b"\1" * 16)
    values = {"run_name": None, "hazards": str(pack), "data": {"dataset": "twins", "file": str(trained_on)}}
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    recorded = {
        "hazards_hash": pack_hash(load_pack(str(pack))),
        "data": {"inputs": {"sha256": {"file": file_sha256(trained_on), "twins": "of no twins that were read"}}},
    }
    (tmp_path / "run/manifest.json").write_text(json.dumps(recorded), encoding="utf-8")
    after = evaluation(tmp_path / "evals/after", weights, refuses_most)
    config = after / "config.yaml"
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    config.write_text(
        yaml.safe_dump(values | {"benchmarks": ["twins_harmful"], "twins_file": str(asked)}), encoding="utf-8"
    )
    decides = {"asked": [{"benchmark": "twins_harmful", "sha256": file_sha256(asked)}], "prompt": None}
    change_manifest(
        after, files=kept(after), decides=decides | {"model": folder_identity(weights), "generator": "scripted"}
    )

    def since():
        assert main([str(before), str(after), "--out", str(tmp_path / "out")]) == 0
        said = json.loads((tmp_path / "out/certificate.json").read_text(encoding="utf-8"))
        assert {"../trained_on.jsonl", "../asked.jsonl"} <= said["files"].keys()
        return [one.partition(":")[0] for one in said["warnings"] if one.startswith("Since")]

    assert since() == []
    trained_on.write_text("3\n", encoding="utf-8")
    assert since() == ["Since the training ../trained_on.jsonl has changed"]
    asked.write_text("4\n", encoding="utf-8")
    edit(pack / "07_hate.yaml", "number: 7", "number: 70")
    assert since()[1:] == [
        "Since the evaluation ../asked.jsonl has changed",
        "Since the training the case pack ../pack has changed",
    ]
    shutil.rmtree(pack)
    assert since()[2] == "Since the training the case pack ../pack is missing"
