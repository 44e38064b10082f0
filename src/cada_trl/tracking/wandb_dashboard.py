"""The dashboard of tracking/metrics.py in W&B: the offline page's sections and panels as a workspace or as a report.

    python -m cada_trl.tracking.wandb_dashboard workspace --entity my-team --group beta_kl-88db9abd
    python -m cada_trl.tracking.wandb_dashboard report --entity my-team --group beta_kl-88db9abd

Needs `pip install 'cada_trl[workspaces]'`, a login, and runs that were sent (online, or `wandb sync` for offline ones).
"""

from __future__ import annotations

from typing import Any

from cada_trl.arguments import Arguments
from cada_trl.errors import UserError, first_line, run_verb
from cada_trl.tracking.metrics import SECTIONS, Panel
from cada_trl.tracking.mirror import logged_in

# A report's grid is 24 units wide, and panels on the same place cover one another.
_GRID_W, _PANEL_W, _PANEL_H = 24, 8, 6


def main(argv: list[str]) -> int:
    """The verb; prints the address. Errors: UserError where the extra, the login, the project or the network lacks."""
    parser = Arguments(prog="python -m cada_trl.tracking.wandb_dashboard", description="Make the dashboard in W&B.")
    parser.add_argument("form", choices=("workspace", "report"), help="a view of the project, or a page to share")
    parser.add_argument("--entity", required=True, help="your W&B user or team")
    parser.add_argument("--project", default="cada_trl", help="wandb_project of the runs")
    parser.add_argument("--group", help="only the runs of this group: a sweep's name")
    arguments = parser.parse_args(argv)
    make = workspace if arguments.form == "workspace" else report
    made = make(arguments.entity, arguments.project, arguments.group)
    if not logged_in():
        raise UserError("nobody is logged in to W&B; run `wandb login` once")
    try:
        print(made.save().url)
    except Exception as error:  # requests', W&B's and GraphQL's errors share no base
        raise UserError(
            f"W&B did not take the {arguments.form}: {first_line(error)}; check --entity, --project and the network"
        ) from error
    return 0


def workspace(entity: str, project: str, group: str | None) -> Any:
    """The workspace, not yet saved; without a network. Errors: UserError without wandb-workspaces."""
    ws, wr = _packages()
    sections = [
        ws.Section(name=title, panels=[_panel(wr, panel) for panel in panels], is_open=True)
        for title, panels in SECTIONS.items()
    ]
    filters = ws.RunsetSettings(filters=_only(ws, group))
    return ws.Workspace(entity=entity, project=project, name=_title(group), sections=sections, runset_settings=filters)


def report(entity: str, project: str, group: str | None) -> Any:
    """The report, not yet saved: a heading and a grid of panels a section. Errors: UserError as workspace."""
    ws, wr = _packages()
    blocks = [wr.TableOfContents()]
    for title, panels in SECTIONS.items():
        runs = wr.Runset(entity=entity, project=project, name=group or "all runs", filters=_only(ws, group))
        drawn = [_panel(wr, panel) for panel in panels]
        for place, panel in enumerate(drawn):
            row, column = divmod(place, _GRID_W // _PANEL_W)
            width = _GRID_W if len(drawn) == 1 else _PANEL_W
            panel.layout = wr.Layout(x=column * _PANEL_W, y=row * _PANEL_H, w=width, h=_PANEL_H)
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runs], panels=drawn)]
    return wr.Report(entity=entity, project=project, title=_title(group), blocks=blocks, width="fluid")


def _packages() -> tuple[Any, Any]:
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UserError("a dashboard in W&B needs the extra: pip install 'cada_trl[workspaces]'") from error
    return ws, wr


def _title(group: str | None) -> str:
    return f"cada_trl, {group}" if group else "cada_trl"


def _only(ws: Any, group: str | None) -> list[Any]:
    return [ws.Metric("Group") == group] if group else []


def _panel(wr: Any, panel: Panel) -> Any:
    of_shares = (0, 1) if panel.unit == "fraction" else (None, None)
    if panel.kind == "table":
        return wr.WeavePanelSummaryTable(table_name=panel.metrics[0])
    if panel.kind == "scatter":
        x, y = (wr.SummaryMetric(name) for name in panel.metrics)
        return wr.ScatterPlot(title=panel.title, x=x, y=y, range_x=of_shares, range_y=of_shares)
    return wr.LinePlot(
        title=panel.title, x="step", y=list(panel.metrics), title_x="step", title_y=panel.unit, range_y=of_shares
    )


if __name__ == "__main__":
    run_verb(main)
