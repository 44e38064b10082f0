"""What a sweep keeps of its cells: each done once, with its numbers, in sweep.json, sweep.md and cells.csv."""

import csv
import json
from pathlib import Path

import pytest

from cada_trl.jobs.session import metrics_of
from tests.report.made_up_evaluation import answers_most, write_evaluation


def test_an_evaluations_numbers_are_named_by_metric_benchmark_and_attack(tmp_path):
    metrics = metrics_of([str(write_evaluation(tmp_path / "evaluation", answers_most))])
    assert set(metrics) == {"asr/strongreject/none", "asr/strongreject/pair", "nrr/xstest_safe/none"}
    assert metrics["asr/strongreject/none"]["value"] == pytest.approx(18 / 24)  # every fourth of 24 is refused
    assert set(metrics["nrr/xstest_safe/none"]) == {"n", "asked", "value", "low", "high"}


@pytest.mark.slow
def test_every_cell_is_done_once_by_whichever_sweep_and_its_numbers_have_intervals(sweep):
    assert sweep("beta_kl=0.0") == 0
    ledger = sweep.sweep_folder / "ledger.jsonl"
    with ledger.open("a") as file:
        file.write('{"job": "hal')  # torn by a kill
    assert sweep("beta_kl=0.0") == 0 and sweep.n_starts() == 1
    assert [json.loads(line)["state"] for line in ledger.read_text().splitlines()] == ["running", "done"]
    ledger.with_name("sweep.json").rename(ledger.with_name("earlier.json"))
    for _ in range(2):
        assert sweep("beta_kl=0.0,0.1", "seed=0", "sweep_name=wider") == 0
        assert sweep.states() == {"0.0 s0": "done", "0.1 s0": "done"} and sweep.n_starts() == 2
    record = sweep.record
    assert (record["format"], record["axes"], record["ablation"]) == (1, {"beta_kl": [0.0, 0.1], "seed": [0]}, None)
    other, first = record["cells"]
    assert first["axes"] == {"beta_kl": 0.1} and first["seed"] == 0 and other["wall_s"] == 30.0
    assert Path(first["run_folder"]).name == f"smollm2-{first['id']}"
    assert first["wall_s"] > 0 and first["evaluations"] == [] and first["reason"] is None
    complied = first["metrics"]["probe/harmful/answered_frac"]
    assert (complied["n"], complied["asked"], complied["value"]) == (4, 4, 0.25)
    assert complied["low"] == pytest.approx(0.0456, abs=1e-4) and complied["high"] == pytest.approx(0.6994, abs=1e-4)
    page = (sweep.sweep_folder / "sweep.md").read_text()
    assert "| 0.1 | 0 | done |" in page and "25.0 % (n 4; 4.6 to 69.9)" in page


@pytest.mark.slow
def test_the_table_of_cells_has_a_row_a_metric_and_one_for_a_cell_without_numbers(sweep):
    sweep.stub(FAILS="beta_kl=0.1")
    assert sweep("beta_kl=0.0,0.1") == 1
    with (sweep.sweep_folder / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    done, failed = [row for row in rows if row["state"] == "done"], [row for row in rows if row["state"] == "failed"]
    answered = next(row for row in done if row["metric"] == "probe/harmful/answered_frac")
    assert (answered["beta_kl"], answered["seed"], answered["n"], answered["value"]) == ("0.0", "0", "4", "0.25")
    assert {row["metric"] for row in done} == set(sweep.record["cells"][0]["metrics"])
    assert [(row["beta_kl"], row["metric"], row["value"]) for row in failed] == [("0.1", "", "")]
