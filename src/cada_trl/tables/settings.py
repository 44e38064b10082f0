"""What the verb `table` takes: hydra_conf/table/table.yaml, typed and closed. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import Positive, Section, compose_config
from cada_trl.evals.eval_folder import folder_name


class TableSettings(Section):
    """One call of the verb; the values and their sources are in hydra_conf/table/table.yaml."""

    table: Literal[1, 2, 3, 4]
    model: str
    seeds: list[str]
    rows: list[str]
    columns: list[str]
    limit: Positive | None
    weights: str | None
    data_root: str | None
    train: list[str]
    evaluate: list[str]
    utility: list[str]
    runs_dir: str
    data_dir: str
    evals_dir: str
    utility_dir: str
    tables_dir: str

    @model_validator(mode="after")
    def _cross_checks(self) -> TableSettings:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or not all(seed.isdigit() for seed in self.seeds):
            raise ValueError(f"seeds={','.join(self.seeds)}: expected numbers from 0, each once, as in seeds=0,1,2")
        return self

    @property
    def folder(self) -> Path:
        """<tables_dir>/table<N>-<model>-<hash8>: another limit, seed or word is another table."""
        folders = {name for name in type(self).model_fields if name.endswith("_dir")}
        return Path(self.tables_dir) / folder_name(f"table{self.table}-{self.model}", self.model_dump(exclude=folders))


def load_table_settings(overrides: Sequence[str]) -> TableSettings:
    """Settings from `key=value` words. Errors: UserError in one line, as compose_config.

    The file lies in a folder of its own: `model` is a plain word here and would be a group in hydra_conf/.
    """
    return compose_config(TableSettings, CONF_DIR / "table", "table", overrides)
