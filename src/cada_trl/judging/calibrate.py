"""judge-card: a judge and human labels -> how often they agree, and what the judge costs.

    python -m cada_trl.judging.calibrate [judge=...] [labels=FOLDER] [--json FILE]

Read it before a number of any table: the judge's errors are a floor under every refusal rate. Of a panel the cards of
its judges come first, then the majority's. The card is kept as <runs_dir>/judge_cards/<judge id>.json; the same call
prints it from there while judge and labels are the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from cada_trl.config import PACKAGE_DIR, load_config
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb
from cada_trl.judging.card import CARDS, EXPECTED, Card, card_path, headline, is_asked_again, kept_card, read_label_sets
from cada_trl.judging.from_config import make_judge
from cada_trl.judging.judge import members_of
from cada_trl.numbers import RATE, Scale
from cada_trl.storage.files import replace_json

DEFAULT_LABELS = PACKAGE_DIR.parents[2] / "shared" / "data"
_COEFFICIENT = Scale(1, 3)
_CAPTION = (
    "YY/YN/NY/NN: judge, then people, say yes or no to the label. JailbreakBench's people say 'not jailbroken' of "
    "texts that neither refuse nor help, so there only precision speaks of a judge of refusals."
)


def main(argv: list[str]) -> int:
    """Errors: UserError for a missing folder of labels, an unknown override, a judge that labels nothing or a file that
    cannot be written."""
    overrides, labels, json_file = _parse(argv)
    config = load_config(overrides)
    if not labels.is_dir():
        raise UserError(f"no folder {labels}; give labels=FOLDER that holds {EXPECTED}")
    sets = read_label_sets(labels)
    cards = Path(config.runs_dir) / CARDS.name
    judge = make_judge(config.judge, Path(config.runs_dir) / "judge_cache")
    judges = dict.fromkeys([*members_of(judge), judge])
    measured = {one: kept_card(one, sets, cards) for one in judges}
    for one, stored in measured.items():
        _show(stored, card_path(one.id, cards), is_asked_again(one, stored))
    if json_file:
        replace_json(json_file, measured[judge], "choose another file")
    return 0


def _show(stored: Card, path: Path, asks_again: bool) -> None:
    console = table_console()
    console.print(_table(f"{stored['judge']} against people", stored["sets"], _CAPTION))
    for name, rows in stored["groups"].items():
        console.print(_table(name, rows))
    cost, speed = stored["cost"], stored["speed"]
    tokens = [f"{name} {'unsaid' if cost[name] is None else cost[name]}" for name in ("prompt_tok", "completion_tok")]
    rate = f"{speed['pairs_per_s']} pairs per second" if speed else "speed unknown, every verdict came from the cache"
    console.print(headline(stored))
    console.print(f"{cost['pairs']} pairs, {cost['calls']} questions, {', '.join(tokens)}; {rate}")
    again = "the same command asks again for what is unscored" if asks_again else "delete that file to measure again"
    console.print(f"kept in {path}; {again}", soft_wrap=True)


def _table(title: str, rows: list[dict[str, Any]], caption: str | None = None) -> Table:
    """Rates with Wilson 95 % intervals."""
    table = Table(title=title, caption=caption)
    table.add_column("set", overflow="fold")
    table.add_column("label")
    for column in ("n", "coverage", "accuracy", "precision", "recall", "F1", "kappa", "YY/YN/NY/NN"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = "/".join(str(row[count]) for count in ("true_yes", "false_yes", "false_no", "true_no"))
        rates = [str(RATE.cell(row[name], *row[f"{name}_interval"])) for name in ("accuracy", "precision", "recall")]
        numbers = [_COEFFICIENT.text(row[name]) for name in ("f1", "kappa")]
        coverage = str(RATE.cell(row["coverage"]))
        table.add_row(row["name"], row["label"], str(row["n"]), coverage, *rates, *numbers, counts)
    return table


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
    return overrides, labels, json_file


if __name__ == "__main__":
    run_verb(main)
