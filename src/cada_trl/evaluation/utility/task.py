"""What a utility task is: hydra_conf/utility_task/<name>.yaml names lm-eval's definition of it and our settings."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import NonNegative, Positive, Section, load_described

TASK_DIR = CONF_DIR / "utility_task"


class Files(Section):
    """The task's rows in a local folder; `{subset}` in a path stands for the subset's name.

    field: the JSON key that holds the rows, null for one row a line. subset_column: where one file holds every subset.
    columns: what each row must have: a text, four texts (the choices) or an index into them.
    """

    format: Literal["json", "parquet"]
    test: str
    fewshot: str | None
    field: str | None
    subset_column: str | None
    columns: dict[str, Literal["text", "four_texts", "index"]]


class TaskSpec(Section):
    """One task. definition, group_definition: lm-eval's files below lm_eval/tasks; leaf, group: its names for them.

    metric, filter: the one of lm-eval's scores that is the accuracy. subsets: name -> number of questions as published.
    """

    name: str
    source: str
    licence: str
    definition: str
    group_definition: str | None
    leaf: str
    group: str | None
    num_fewshot: NonNegative
    chat_template: bool
    fewshot_as_turns: bool  # the examples are earlier turns of the chat, not text before the question
    generates: bool
    metric: Literal["acc", "exact_match"]
    filter: str
    files: Files
    subsets: dict[str, Positive]

    @model_validator(mode="after")
    def _cross_checks(self) -> TaskSpec:
        if (self.group is None) != (self.group_definition is None):
            raise ValueError("group and group_definition go together")
        if self.fewshot_as_turns and not self.chat_template:
            raise ValueError("fewshot_as_turns needs chat_template")
        return self

    @property
    def n(self) -> int:
        return sum(self.subsets.values())

    def leaf_of(self, subset: str) -> str:
        """lm-eval's name of the subset's task."""
        return self.leaf.format(subset=subset)


def load_task(name: str) -> TaskSpec:
    """The task's description; `files` and `subsets` may name another task whose section they share.

    Errors: UserError for an unknown name, with the nearest ones, and for a file that is not a description.
    """
    return load_described(TaskSpec, TASK_DIR, name, "task", ("files", "subsets"))
