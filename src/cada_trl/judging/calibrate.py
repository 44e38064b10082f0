"""How far a judge agrees with people: python -m cada_trl.judging.calibrate [judge=...] [labels=FOLDER] [--json FILE].

Read it before a number of any table: the judge's errors are a floor under every refusal rate.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cada_trl.config import PACKAGE_DIR, load_config
from cada_trl.errors import UserError, run_verb
from cada_trl.judging.judge import Judge, make_judge
from cada_trl.judging.labels import EXPECTED, LabelSet, read_label_sets
from cada_trl.records import Verdict
from cada_trl.statistics import Rate, cohen_kappa

DEFAULT_LABELS = PACKAGE_DIR.parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Agreement:
    """Confusion of a judge with people on one set; "positive" is REFUSED, n_unscored items are in no other count."""

    name: str
    true_refused: int
    false_refused: int
    false_complied: int
    true_complied: int
    n_unscored: int
    kappa: float

    @property
    def n(self) -> int:
        return self.true_refused + self.false_refused + self.false_complied + self.true_complied

    @property
    def accuracy(self) -> Rate:
        return Rate(self.true_refused + self.true_complied, self.n, self.n + self.n_unscored)

    @property
    def precision(self) -> Rate:
        """Of what the judge calls refused, the share that people call refused."""
        said = self.true_refused + self.false_refused
        return Rate(self.true_refused, said, said)

    @property
    def recall(self) -> Rate:
        """Of what people call refused and the judge scored, the share that the judge calls refused."""
        refused = self.true_refused + self.false_complied
        return Rate(self.true_refused, refused, refused)

    @property
    def f1(self) -> float:
        """NaN where nothing is refused by anyone."""
        total = 2 * self.true_refused + self.false_refused + self.false_complied
        return 2 * self.true_refused / total if total else math.nan


def agreement(judge: Judge, labelled: LabelSet) -> Agreement:
    """Judge one set and compare."""
    verdicts = [judged.verdict for judged in judge.judge(labelled.pairs)]
    scored = [
        (verdict is Verdict.REFUSED, human)
        for verdict, human in zip(verdicts, labelled.refused, strict=True)
        if verdict is not Verdict.UNSCORED
    ]
    return Agreement(
        labelled.name,
        true_refused=scored.count((True, True)),
        false_refused=scored.count((True, False)),
        false_complied=scored.count((False, True)),
        true_complied=scored.count((False, False)),
        n_unscored=len(verdicts) - len(scored),
        kappa=cohen_kappa([said for said, _ in scored], [human for _, human in scored]),
    )


def as_table(judge_id: str, rows: list[Agreement]) -> Table:
    """Rates in percent with Wilson 95 % intervals."""
    table = Table(title=f"{judge_id} against human labels", caption=_CAPTION)
    table.add_column("set", overflow="fold")
    for column in ("n", "coverage %", "accuracy %", "precision %", "recall %", "F1", "kappa", "TR/FR/FC/TC"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (row.true_refused, row.false_refused, row.false_complied, row.true_complied)
        rates = [_percent(rate) for rate in (row.accuracy, row.precision, row.recall)]
        numbers = [f"{row.f1:.3f}", f"{row.kappa:.3f}", "/".join(map(str, counts))]
        table.add_row(row.name, str(row.n), f"{100 * row.accuracy.coverage:.1f}", *rates, *numbers)
    return table


_CAPTION = (
    "TR/FR: called refused, truly/falsely; TC/FC: called complied. JailbreakBench's people say 'not jailbroken' of "
    "texts that neither refuse nor help, so there only precision and FR speak of a judge of refusals."
)


def _percent(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * rate.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def as_json(judge_id: str, rows: list[Agreement]) -> dict[str, Any]:
    """The table's twin; a rate of nothing is null."""
    return {"judge": judge_id, "sets": [_row_as_json(row) for row in rows]}


def _row_as_json(row: Agreement) -> dict[str, Any]:
    rates = {"accuracy": row.accuracy, "precision": row.precision, "recall": row.recall}
    values: dict[str, Any] = {"name": row.name, "n": row.n, "coverage": _or_null(row.accuracy.coverage)}
    for name, rate in rates.items():
        values |= {name: _or_null(rate.value), f"{name}_interval": list(rate.interval), f"{name}_n": rate.n}
    values |= {"f1": _or_null(row.f1), "kappa": _or_null(row.kappa), "unscored": row.n_unscored}
    counts = ("true_refused", "false_refused", "false_complied", "true_complied")
    return values | {count: getattr(row, count) for count in counts}


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def main(argv: list[str]) -> int:
    """Errors: UserError for a missing folder of labels, an unknown override or a file that cannot be written."""
    overrides, labels, json_file = _parse(argv)
    sets = read_label_sets(labels)
    config = load_config(overrides)
    judge = make_judge(config.judge, Path(config.runs_dir) / "judge_cache")
    rows = [agreement(judge, labelled) for labelled in sets]
    Console().print(as_table(judge.id, rows))
    if json_file:
        try:
            json_file.write_text(json.dumps(as_json(judge.id, rows), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {json_file}: {error.strerror}; choose another file") from error
    return 0


def _parse(argv: list[str]) -> tuple[list[str], Path, Path | None]:
    overrides, labels, json_file = [], DEFAULT_LABELS, None
    arguments = iter(argv)
    for argument in arguments:
        if argument.startswith("labels="):
            labels = Path(argument.removeprefix("labels="))
        elif argument == "--json":
            name = next(arguments, None)
            if name is None:
                raise UserError("--json needs a file name")
            json_file = Path(name)
        else:
            overrides.append(argument)
    if not labels.is_dir():
        raise UserError(f"no folder {labels}; give labels=FOLDER that holds {EXPECTED}")
    return overrides, labels, json_file


if __name__ == "__main__":
    run_verb(main)
