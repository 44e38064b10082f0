"""The dashboard of tracking/panels.py as a W&B workspace: the same sections and panels as in the offline page.

    python -m cada_trl.tracking.wandb_workspace --entity my-team --project cada_trl [--group beta_kl-88db9abd]

Needs `pip install -e '.[workspaces]'`, a login, and runs that were sent (online, or `wandb sync` for offline ones).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cada_trl.errors import UserError, run_verb
from cada_trl.tracking.panels import SECTIONS, Panel, Section


def main(argv: list[str]) -> int:
    """The verb; prints the workspace's address. Errors: UserError where the extra, the login or the network lacks."""
    parser = argparse.ArgumentParser(
        prog="python -m cada_trl.tracking.wandb_workspace", description="Make a dashboard."
    )
    parser.add_argument("--entity", required=True, help="your W&B user or team")
    parser.add_argument("--project", default="cada_trl", help="wandb_project of the runs")
    parser.add_argument("--group", help="only the runs of this group: a sweep's name")
    arguments = parser.parse_args(argv)
    made = workspace(arguments.entity, arguments.project, arguments.group)
    try:
        print(made.save().url)
    except Exception as error:  # requests', W&B's and GraphQL's errors share no base
        about = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"W&B did not take the workspace: {about}; run `wandb login`, check entity and network"
        ) from error
    return 0


def workspace(entity: str, project: str, group: str | None, sections: Sequence[Section] = SECTIONS) -> Any:
    """The workspace, not yet saved; without a network. Errors: UserError without wandb-workspaces."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError("a W&B workspace needs the extra: pip install -e '.[workspaces]'") from error
    runs = ws.RunsetSettings(filters=[ws.Metric("Group") == group] if group else [])
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"cada_trl, {group}" if group else "cada_trl",
        sections=[
            ws.Section(name=section.title, panels=[_panel(panel) for panel in section.panels], is_open=True)
            for section in sections
        ],
        runset_settings=runs,
    )


def _panel(panel: Panel) -> Any:
    import wandb_workspaces.reports.v2 as wr

    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=panel.metrics[0])
    if panel.kind == "scatter":
        x, y = (wr.SummaryMetric(name) for name in panel.metrics)
        return wr.ScatterPlot(title=panel.title, x=x, y=y)
    return wr.LinePlot(title=panel.title, x="step", y=list(panel.metrics))


if __name__ == "__main__":
    run_verb(main)
