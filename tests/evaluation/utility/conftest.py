"""Small data folders in the published layouts, with rows written here, and tasks that expect just those rows."""

import json

import pytest

from cada_trl.evaluation.utility import task
from cada_trl.evaluation.utility.task import load_task

GSM8K = [
    {
        "question": f"Ann has {n} pens and buys {n} more. How many has she?",
        "answer": f"{n}+{n}=<<{n}+{n}={2 * n}>>{2 * n}\n#### {2 * n}",
    }
    for n in (2, 3, 4)
]
BBH = {
    "boolean_expressions": [
        {"input": "not ( True ) is", "target": "False"},
        {"input": "True or False is", "target": "True"},
    ],
    "navigate": [{"input": "Take 1 step. Turn around. Take 1 step.\nOptions:\n- Yes\n- No", "target": "Yes"}],
}
SUBJECTS = {"anatomy": 3, "astronomy": 2}
SMALL = {
    "gsm8k": {"all": 3},
    "bbh": {"boolean_expressions": 2, "navigate": 1},
    "mmlu": SUBJECTS,
    "mmlu_plain": SUBJECTS,
}


def mmlu_rows(subject, n, first=0):
    return [
        {"question": f" Which is {subject} {k}? ", "subject": subject, "choices": list("wxyz"), "answer": k % 4}
        for k in range(first, first + n)
    ]


def mmlu_split(split):
    """Subjects in turn; the five examples of each come from rows that no test question is."""
    if split == "dev":
        return [row for subject in SUBJECTS for row in mmlu_rows(subject, 5, first=100)]
    return [row for subject, n in SUBJECTS.items() for row in mmlu_rows(subject, n)]


@pytest.fixture
def data_root(tmp_path):
    import pyarrow as pa
    from pyarrow.parquet import write_table

    folder = tmp_path / "data"
    for name in ("gsm8k", "bbh", "mmlu"):
        (folder / name).mkdir(parents=True)
    lines = [json.dumps(row) + "\n" for row in GSM8K]
    (folder / "gsm8k" / "test.jsonl").write_text("".join(lines), encoding="utf-8")
    for subset, rows in BBH.items():
        text = json.dumps({"canary": "not a row", "examples": rows})
        (folder / "bbh" / f"{subset}.json").write_text(text, encoding="utf-8")
    for split in ("test", "dev"):
        write_table(pa.Table.from_pylist(mmlu_split(split)), folder / "mmlu" / f"{split}.parquet")
    return folder


def small_task(name):
    """The task as it is, but for the published number of rows."""
    return load_task(name).model_copy(update={"subsets": SMALL[name]})


@pytest.fixture
def small_tasks(monkeypatch):
    monkeypatch.setattr(task, "load_task", small_task)
