"""The page of a sweep: what it draws, what it says under the pointer and in the tables, and what it leaves out."""

import json
import shutil
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from cada_trl.document.blocks import Table
from cada_trl.report import sweep_part
from cada_trl.report.__main__ import main
from cada_trl.report.frontier import Frontier, Measured, Point, Share, pareto_front
from cada_trl.report.records import CellRecord, SweepRecord, read_sweep
from cada_trl.report.sweep_part import draw_frontier
from cada_trl.statistics.seeds import pooled_spread
from tests.report.html_check import check_page
from tests.report.made_up_evaluation import write_evaluation
from tests.report.made_up_run import seal
from tests.report.made_up_sweep import answers, write_record, write_sweep


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = write_sweep(tmp_path_factory.mktemp("one"))
    assert main([str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """Four configurations of two seeds: four degrees of freedom."""
    folder = write_sweep(tmp_path_factory.mktemp("two"), seeds=(0, 1))
    assert main([str(folder)]) == 0
    return folder


def twin_of(folder):
    return json.loads((folder / "report.json").read_text())["sweeps"][0]


@pytest.mark.slow
def test_the_front_the_beaten_cell_and_the_picture_are_there(sweep):
    headline = twin_of(sweep)["frontiers"][0]
    assert (headline["asr"], headline["nrr"]) == ("asr/all", "nrr/xstest_safe/none")
    assert headline["front"] == ["beta_kl=0", "beta_kl=0.01", "beta_kl=1"]
    assert headline["dominated_by"] == {"beta_kl=0.1": ["beta_kl=0.01"]}
    assert [(one["first"], one["second"]) for one in headline["neighbours"]] == [
        ("beta_kl=0", "beta_kl=0.01"),
        ("beta_kl=0.01", "beta_kl=1"),
    ]
    assert (sweep / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_a_rate_is_that_of_the_evaluation(sweep):
    (plain,) = [one for one in twin_of(sweep)["frontiers"] if one["asr"] == "asr/strongreject/none"]
    scores = json.loads((sweep.parents[1] / "evals" / "b0.1-s0" / "scores.json").read_text())
    (scored,) = [one for one in scores["cells"] if (one["benchmark"], one["attack"]) == ("strongreject", "none")]
    (point,) = [one for one in plain["points"] if one["label"] == "beta_kl=0.1"]
    for key in ("n", "value", "low", "high"):
        assert point["asr"][key] == pytest.approx(scored["total"]["complied"][key])


def test_the_page_is_whole_offline_and_says_a_points_numbers_under_the_pointer(sweep):
    page = (sweep / "report.html").read_text()
    check_page(page)
    assert "<title>beta_kl=0.1, seed 0: ASR 58.3 % (38.8 to 75.5; n 24/24)" in page
    assert "dominated by beta_kl=0.01" in page
    text = (sweep / "report.md").read_text()
    assert "![ASR against NRR](frontier.png)" in text and "One seed per configuration" in text


@pytest.mark.slow
def test_every_seed_is_a_mark_and_a_row_and_the_page_says_how_intervals_were_pooled(pooled):
    page = (pooled / "report.html").read_text()
    check_page(page)
    assert "mean of 2" in page and "<title>beta_kl=0, seed 1: ASR" in page
    told = "variance pooled over 4 configurations, 8 seeds, 4 degrees of freedom"
    assert told in page and told in (pooled / "report.md").read_text()
    headline = twin_of(pooled)["frontiers"][0]
    assert (headline["asr_spread"]["n_configurations"], headline["asr_spread"]["df"]) == (4, 4)
    assert {one["asr"]["interval"] for one in headline["points"]} == {"pooled"}


@pytest.mark.slow
def test_probes_stand_in_where_no_evaluation_ran(tmp_path):
    folder = write_sweep(tmp_path, evaluated=False)
    main([str(folder)])
    headline = twin_of(folder)["frontiers"][0]
    assert (headline["asr"], headline["nrr"]) == ("probe/harmful", "probe/xstest_safe")


@pytest.mark.slow
def test_a_cell_that_failed_or_lost_its_folder_is_said_and_no_point(tmp_path):
    folder = write_sweep(tmp_path)
    values = json.loads((folder / "sweep.json").read_text())
    values["cells"][0] |= {"state": "failed", "reason": "exit code 2"}
    write_record(folder, values)
    shutil.rmtree(tmp_path / "evals" / "b1.0-s0")
    record = read_sweep(folder)
    assert [cell.label for cell in record.cells] == ["beta_kl=0.01", "beta_kl=0.1"]
    assert record.missing[0] == "beta_kl=0, seed 0: failed (exit code 2)"
    assert record.missing[1].startswith("beta_kl=1, seed 0: ") and "b1.0-s0" in record.missing[1]


@pytest.mark.slow
def test_a_cell_with_an_edited_row_is_said_and_no_point(tmp_path):
    folder, run = write_sweep(tmp_path, evaluated=False), tmp_path / "runs" / "b0.0-s0"
    seal(run)
    assert read_sweep(folder).missing == []
    probes = run / "probes" / "after.jsonl"
    probes.write_text(probes.read_text().replace("COMPLIED", "REFUSED"))
    (sentence,) = read_sweep(folder).missing
    assert sentence.startswith(f"beta_kl=0, seed 0: {probes} was edited after it was written")


@pytest.mark.slow
def test_untrained_models_that_were_asked_other_requests_are_rows_of_their_own_and_the_page_says_so(tmp_path):
    sweep = write_sweep(tmp_path)
    values = json.loads((sweep / "sweep.json").read_text())
    for name, n_refused in (("one", 2), ("two", 6)):
        write_evaluation(tmp_path / "evals" / name, answers(n_refused, 0, 0), n_harmful=20 + n_refused)
        asked = {"model": "smollm2", "state": "done", "reason": None, "evaluations": [f"evals/{name}"], "metrics": {}}
        values["initial"].append({"id": f"initial-{name}", **asked})
    write_record(sweep, values)
    record = read_sweep(sweep)
    assert [one.label for one in record.initial] == [f"initial smollm2 (initial-{name})" for name in ("one", "two")]
    found = sweep_part.sweep_part([record]).twin["sweeps"][0]["frontiers"]
    same = {one["asr"]: one["same_requests"] for one in found}
    assert same == {"asr/strongreject/none": False, "asr/strongreject/pair": True}


def test_rates_that_no_configuration_has_are_said_with_the_reason(tmp_path, monkeypatch):
    def own_prompts(cell):
        adaptive = {f"of seed {cell.seed}": ("s/1", True)}
        return Measured(cell, {"asr/s/adaptive": adaptive, "nrr/xstest_safe/none": {"x": ("x/1", True)}}, 0.9)

    monkeypatch.setattr(sweep_part, "measured", own_prompts)
    seeds = [CellRecord("a", "a", seed, None, []) for seed in (0, 1)]
    page = sweep_part.sweep_part([SweepRecord(tmp_path, {}, {}, [], seeds, [])])
    reason = "not comparable: no attempt has the same prompt in all seeds"
    assert page.twin["sweeps"][0]["missing"] == [f"ASR: s, adaptive; NRR: XSTest, safe: {reason}"]


def test_two_sweeps_of_one_name_have_a_picture_each(sweep, monkeypatch):
    for name in ("frontier_png", "frontier_svg"):
        monkeypatch.setattr(sweep_part, name, lambda *_: "")
    record = read_sweep(sweep)
    assert list(sweep_part.sweep_part([record, record]).images) == ["frontier-1.png", "frontier-2.png"]


def test_a_sweep_without_numbers_still_has_a_page(tmp_path):
    values = {"initial": [], "cells": [], "axes": {}}
    folder = write_record(tmp_path / "sweeps" / "none", values)
    main([str(folder)])
    assert "No cell has numbers yet" in (folder / "report.html").read_text()
    assert not (folder / "frontier.png").exists()


def point(label, asr, nrr, trained=True, **ends):
    shares = [Share(9, 9, sum(own) / len(own), per_seed=tuple(own), **ends) for own in (asr, nrr)]
    return Point(label, None, *shares, trained)


BASE = point("base", [0.7], [0.95], trained=False)
SEEDS = point("seeds", [0.1, 0.08], [0.9, 0.86])
ONE = point("one", [0.2], [0.8])


def front_of(*points):
    spread, front = pooled_spread([]), [one.label for one in pareto_front(points)]
    return Frontier("asr/all", "nrr/a/none", spread, spread, list(points), [], front, {}, [], True)


def drawn(*points):
    axes = Figure().add_subplot()
    draw_frontier(axes, front_of(*points))
    return axes


def test_no_label_is_markup_where_the_picture_stands_in_the_page_itself():
    label = "--><script>"
    svg = sweep_part.frontier_svg(front_of(point(label, [0.2], [0.8]), BASE), "p", {"point-0": label})
    assert "<title>--&gt;&lt;script&gt;</title>" in svg and label not in svg


def test_the_untrained_model_is_one_row_beside_the_seeds(tmp_path):
    spread, own = pooled_spread([]), [replace(ONE, label="seeds", seed=seed) for seed in (0, 1)]
    one = Frontier("asr/all", "nrr/a/none", spread, spread, [BASE, SEEDS], [BASE, *own], ["base"], {}, [], True)
    blocks = sweep_part._blocks(SweepRecord(tmp_path, {}, {}, [], [], []), [one], "p", "frontier.png")
    (table,) = [block for block in blocks if isinstance(block, Table)]
    assert [row[0] for row in table.rows] == ["base", "seeds", "seeds", "seeds"]


def marks(axes):
    return {line.get_gid(): line for line in axes.get_lines() if line.get_gid()}


def test_every_seed_is_a_mark_beside_its_mean_and_one_seed_is_one_mark():
    found = marks(drawn(BASE, SEEDS))
    assert set(found) == {"point-0", "point-1", "seed-1-0", "seed-1-1"}
    assert [*found["point-1"].get_xdata(), *found["point-1"].get_ydata()] == pytest.approx([0.12, 0.91])
    assert found["point-0"].get_marker() == "*" != found["point-1"].get_marker()  # the model before training


def test_bars_reach_as_far_as_the_interval_and_stand_only_where_there_is_one():
    bars = drawn(point("bars", [0.2], [0.8], low=0.7, high=0.85), BASE).containers[0]
    assert [place[0] for place in bars.lines[2][0].get_segments()[0]] == pytest.approx([0.15, 0.3])
    none = drawn(ONE, BASE).containers[0]
    assert none.lines[2] == ()


def test_what_is_beaten_is_hollow():
    faces = {gid: line.get_markerfacecolor() for gid, line in marks(drawn(ONE, point("worse", [0.3], [0.7]))).items()}
    assert faces["point-1"] == "white" != faces["point-0"]


def test_near_points_come_apart_and_noise_does_not_fill_the_picture():
    axes = drawn(point("a", [0.01], [1.0]), point("b", [0.0], [0.99]))
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert 0.25 <= high - low < 0.5 and low > -0.05 and high < 1.05
