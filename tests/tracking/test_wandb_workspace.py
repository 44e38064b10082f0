from __future__ import annotations

import sys

import pytest

from cada_trl.errors import UserError
from cada_trl.tracking.panels import SECTIONS
from cada_trl.tracking.wandb_workspace import main, workspace


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[workspaces\]'"):
        main(["--entity", "team"])


def test_the_workspace_has_every_panel_and_the_step_as_axis() -> None:
    pytest.importorskip("wandb_workspaces")
    made = workspace("team", "cada_trl", "beta_kl-88db9abd")
    assert [section.name for section in made.sections] == [section.title for section in SECTIONS]
    for section, of_wandb in zip(SECTIONS, made.sections, strict=True):
        assert len(of_wandb.panels) == len(section.panels)
        for panel, drawn in zip(section.panels, of_wandb.panels, strict=True):
            if panel.kind == "line":
                assert (drawn.x, list(drawn.y)) == ("step", list(panel.metrics))
    assert "beta_kl-88db9abd" in str(made._to_model().model_dump())
