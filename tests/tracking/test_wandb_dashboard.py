"""The verb as a process of its own, saving to a W&B that stands in on this machine."""

import json
import re
import subprocess
import sys

import pytest

from cada_trl.errors import UserError
from cada_trl.tracking.metrics import SECTIONS
from cada_trl.tracking.wandb_dashboard import main

from .wandb_stand_in import ENTITY, PROJECT, environment, wandb_stand_in

pytestmark = pytest.mark.slow

GROUP = "beta_kl-88db9abd"
FILTER = {"key": {"section": "run", "name": "group"}, "op": "=", "value": GROUP, "disabled": False}


@pytest.fixture(scope="module")
def wandb_server():
    pytest.importorskip("wandb_workspaces")
    with wandb_stand_in() as stand_in:
        yield stand_in


def make(server, *words, key="0" * 40):
    command = [sys.executable, "-m", "cada_trl.tracking.wandb_dashboard", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(server, key), check=False)


def saved(server, form):
    made = make(server, form, "--entity", ENTITY, "--group", GROUP)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(f"{server.url}/{ENTITY}/{PROJECT}")
    return server.saved[-1]


def assert_drawn(panel, sent):
    """What W&B is sent shows the panel's metrics, by step where it is a line, with its unit on the axis."""
    config = sent["config"]
    if panel.kind == "line":
        assert (sent["viewType"], config["xAxis"], config["metrics"]) == (
            "Run History Line Plot",
            "step",
            list(panel.metrics),
        )
        assert (config["chartTitle"], config["yAxisTitle"]) == (panel.title, panel.unit)
        assert (config.get("yAxisMin"), config.get("yAxisMax")) == ((0, 1) if panel.unit == "fraction" else (None,) * 2)
    elif panel.kind == "scatter":
        assert (config["xAxis"], config["yAxis"]) == tuple(f"summary:{name}" for name in panel.metrics)
    else:
        assert panel.metrics[0] in json.dumps(config)


def test_a_saved_workspace_has_every_section_and_panel_for_the_runs_of_the_group(wandb_server):
    view = saved(wandb_server, "workspace")
    assert (view["type"], view["entityName"], view["projectName"]) == ("project-view", ENTITY, PROJECT)
    section = json.loads(view["spec"])["section"]
    assert [one["filters"]["filters"] for one in section["runSets"]] == [[FILTER]]
    sent = section["panelBankConfig"]["sections"]
    assert [one["name"] for one in sent] == list(SECTIONS)
    for specified, drawn in zip(SECTIONS.values(), sent, strict=True):
        for panel, of_wandb in zip(specified, drawn["panels"], strict=True):
            assert_drawn(panel, of_wandb)


def test_a_saved_report_has_the_same_under_headings_side_by_side(wandb_server):
    view = saved(wandb_server, "report")
    assert (view["type"], view["displayName"]) == ("runs", f"cada_trl, {GROUP}")
    blocks = json.loads(view["spec"])["blocks"]
    headings = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert headings == list(SECTIONS)
    grids = [block["metadata"] for block in blocks if block["type"] == "panel-grid"]
    for specified, grid in zip(SECTIONS.values(), grids, strict=True):
        assert GROUP in json.dumps(grid["runSets"][0]["filters"])
        assert grid["runSets"][0]["project"]["name"] == PROJECT
        sent = grid["panelBankSectionConfig"]["panels"]
        for panel, of_wandb in zip(specified, sent, strict=True):
            assert_drawn(panel, of_wandb)
        places = [(one["layout"]["x"], one["layout"]["y"]) for one in sent]
        assert len(set(places)) == len(places) and all(
            x + one["layout"]["w"] <= 24 for (x, _), one in zip(places, sent, strict=True)
        )


@pytest.mark.parametrize(
    ("words", "key", "message"),
    [
        ("workspace --entity nobody", "0" * 40, "error: W&B did not take the workspace: .*entity nobody not found"),
        ("report --entity nobody", "0" * 40, "error: W&B did not take the report: .*entity nobody not found"),
        (f"report --entity {ENTITY} --project empty", "0" * 40, "'my-team/empty' not found"),
        (f"report --entity {ENTITY}", "", "error: nobody is logged in to W&B; run `wandb login` once"),
        (f"report --entity {ENTITY}", "abc", r"API key must have 40\+ characters"),
    ],
)
def test_what_wandb_does_not_take_is_one_line(wandb_server, words, key, message):
    made = make(wandb_server, *words.split(), key=key)
    assert made.returncode == 2 and "Traceback" not in made.stderr
    assert re.search(message, made.stderr.splitlines()[-1])


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install 'cada_trl\[workspaces\]'"):
        main(["workspace", "--entity", "team"])
