"""The whole-step benchmark on a model of two layers: both trainers sample and learn."""

import json
from dataclasses import asdict

import pytest

from benchmarks import e2e, step
from benchmarks.e2e import CASES, CHAT, ROWS, SAMPLED_BY_TRANSFORMERS, best, growth, main, measure, those_that_run
from cada_trl.errors import UserError
from cada_trl.rollouts import vllm_plugin


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("trainer", ["cada", "stock"])
def test_each_trainer_samples_the_preset_lengths_itself_and_is_timed(trainer, bf16):
    seen = measure(asdict(CHAT.work(trainer, "tiny", n_timed=1, bf16=bf16)))  # refuses other lengths itself
    assert len(seen["rollout_cpu_s"]) == len(seen["update_cpu_s"]) == 1
    assert seen["rollout_cpu_s"][0] > 0 and seen["update_cpu_s"][0] > 0


def without_vllm(monkeypatch):
    monkeypatch.setattr(vllm_plugin, "installed_version", lambda: None)


def test_without_vllm_its_rows_are_left_out_in_one_line(monkeypatch, capsys):
    without_vllm(monkeypatch)
    assert those_that_run(ROWS, asked=False) == SAMPLED_BY_TRANSFORMERS
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("left out: cases_vllm, ") and "vllm is not installed: pip install" in line


def test_without_vllm_a_row_with_it_that_was_asked_for_is_refused(monkeypatch):
    without_vllm(monkeypatch)
    with pytest.raises(UserError, match="chat_vllm: vllm is not installed: pip install"):
        main(["rows=chat,chat_vllm"])


def test_cadas_cheapest_way_to_sample_is_held_against_each_of_stocks():
    def result(name, rollout, cada_s, stock_s):
        steps = {"cada": {"step_cpu_s": cada_s}, "stock": {"step_cpu_s": stock_s}}
        return {"name": name, "prefix_tok": 300, "times": 1, "longer": 1, "rollout": rollout, **steps}

    pair = [result("cases", "transformers", 5.0, 20.0), result("cases_vllm", "vllm", 4.0, 10.0)]
    assert best(pair) == [{"row": "cases_vllm", "step_cpu_s": 4.0, "ratios": {"transformers": 0.2, "vllm": 0.4}}]
    assert best([pair[0], result("cases_x2", "transformers", 5.0, 20.0) | {"times": 2}])[1]["row"] == "cases_x2"


def test_a_rows_twice_doubles_rollouts_or_tokens_and_nothing_else():
    by_name = {row.name: row.work("cada", "tiny", 1) for row in ROWS}
    assert by_name["cases_x2"].prompt_tok == by_name["cases"].prompt_tok * 2
    assert by_name["chat_longer"].completion_tok == [2 * n for n in by_name["chat"].completion_tok]
    assert by_name["chat_longer"].prompt_tok == by_name["chat"].prompt_tok


def test_bf16_is_given_to_both_trainers(monkeypatch):
    works = []

    def measured(work):
        works.append(work)
        return seen(1.0, 1.0)

    monkeypatch.setattr(e2e, "measured", measured)
    main(["rows=chat", "bf16=true"])
    main(["rows=chat"])
    assert [(work.trainer, work.bf16) for work in works] == [
        ("stock", True),
        ("cada", True),
        ("stock", False),
        ("cada", False),
    ]


def seen(rollout_s, update_s):
    return {"rollout_cpu_s": [rollout_s], "update_cpu_s": [update_s], "peak_mib": 100.0}


@pytest.mark.parametrize(("cada_s", "code"), [(5.0, 0), (6.0, 1)])
def test_check_fails_above_half_of_stocks_step(monkeypatch, tmp_path, cada_s, code):
    def measured(work):
        return seen(cada_s - 1.0, 1.0) if work.trainer == "cada" else seen(8.0, 2.0)

    monkeypatch.setattr(e2e, "measured", measured)
    assert main(["rows=cases", "--check", "--json", str(tmp_path / "e2e.json")]) == code
    assert json.loads((tmp_path / "e2e.json").read_text())["rows"][0]["ratio"] == cada_s / 10.0


def test_growth_is_the_share_of_the_row_that_it_is_measured_from():
    base = {"name": "cases", "against": None, "times": 1, "cada": {"step_cpu_s": 2.0}, "stock": {"step_cpu_s": 4.0}}
    twice = base | {"name": "cases_x2", "against": "cases", "times": 2, "cada": {"step_cpu_s": 3.0}}
    assert growth([base, twice]) == ["cases -> cases_x2, twice the rollouts: cada x1.50, stock x1.00"]
    assert growth([twice]) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("model=llama3", "valid: smollm2, tiny"),
        ("rows=k9", "no row 'k9'; valid: "),
        ("steps=3", "unknown key 'steps'; valid: model, rows"),
        ("--steps=0", "expected 1 or more"),
    ],
)
@pytest.mark.parametrize("benchmark", [e2e, step])
def test_a_wrong_argument_is_refused_with_what_is_valid(benchmark, argument, message):
    with pytest.raises(UserError, match=message):
        benchmark.main([argument])


def test_bf16_is_true_or_false():
    with pytest.raises(UserError, match="bf16=yes; expected true or false"):
        main(["bf16=yes"])


def test_rows_share_the_prefix_that_they_name():
    assert CASES.work("cada", "tiny", 1).prefix_tok == 300 and min(CASES.work("cada", "tiny", 1).prompt_tok) > 300
