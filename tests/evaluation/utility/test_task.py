"""A task: its description, its questions and local files, and the prompts that lm-eval makes of them."""

import hashlib
from pathlib import Path

import pytest
import yaml

from cada_trl.config.loading import described
from cada_trl.errors import UserError
from cada_trl.evaluation.utility import task as tasks
from cada_trl.evaluation.utility.task import (
    TASK_DIR,
    check_files,
    definitions_sha256,
    load_task,
    sampled,
    write_definitions,
)
from cada_trl.records import write_jsonl

from .conftest import BBH, GSM8K, SMALL, mmlu_split, small_task


@pytest.mark.parametrize(("name", "n", "n_subsets"), [("gsm8k", 1319, 1), ("bbh", 6511, 27), ("mmlu", 14042, 57)])
def test_the_published_number_of_questions_adds_up(name, n, n_subsets):
    spec = load_task(name)
    assert (spec.n, len(spec.subsets)) == (n, n_subsets)


def test_the_settings_are_the_papers():
    shots = {name: load_task(name).num_fewshot for name in described(TASK_DIR)}
    assert shots == {"gsm8k": 0, "bbh": 0, "mmlu": 5, "mmlu_plain": 5}
    assert [name for name in described(TASK_DIR) if not load_task(name).chat_template] == ["mmlu_plain"]
    assert load_task("bbh").group == "bbh_zeroshot"


def test_plain_mmlu_differs_from_mmlu_in_the_template_alone():
    ours = load_task("mmlu").model_dump()
    differing = {key for key, value in load_task("mmlu_plain").model_dump().items() if value != ours[key]}
    assert differing == {"name", "chat_template", "fewshot_as_turns"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": None}, "group and group_definition go together"),
        ({"chat_template": False}, "fewshot_as_turns needs chat_template"),
    ],
)
def test_a_wrong_description_names_its_file(change, message, tmp_path, monkeypatch):
    values = {**load_task("mmlu").model_dump(), **change, "name": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    monkeypatch.setattr(tasks, "TASK_DIR", tmp_path)
    with pytest.raises(UserError, match=f"mine.yaml: .*{message}"):
        load_task("mine")


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("gsm8k", ["gsm8k/test.jsonl"]),
        ("bbh", ["bbh/boolean_expressions.json", "bbh/navigate.json"]),
        ("mmlu", ["mmlu/dev.parquet", "mmlu/test.parquet"]),
    ],
)
def test_every_file_that_is_read_is_known_by_its_hash(name, files, data_root):
    found = check_files(small_task(name), data_root)
    assert found == {file: hashlib.sha256((data_root / file).read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu"])
def test_the_published_sets_pass(name, shared_data):
    assert check_files(load_task(name), shared_data)


@pytest.mark.parametrize(
    ("name", "file"), [("gsm8k", "gsm8k/test.jsonl"), ("bbh", "bbh/navigate.json"), ("mmlu", "mmlu/dev.parquet")]
)
def test_a_missing_file_is_named(name, file, data_root):
    (data_root / file).unlink()
    with pytest.raises(
        UserError, match=rf"{name}: no file .*/{file}; make data DATA_ROOT=.* fetches it \(https://github.com/"
    ):
        check_files(small_task(name), data_root)


@pytest.mark.parametrize("name", ["gsm8k", "bbh", "mmlu"])
def test_another_number_of_rows_than_published_is_refused(name, data_root):
    last = list(SMALL[name])[-1]
    more = {**SMALL[name], last: SMALL[name][last] + 1}
    task = small_task(name).model_copy(update={"subsets": more})
    with pytest.raises(UserError, match=f"{name}: {SMALL[name][last]} rows of {last} in .* the published {more[last]}"):
        check_files(task, data_root)


def test_too_few_examples_are_refused(data_root):
    task = small_task("mmlu").model_copy(update={"num_fewshot": 6})
    with pytest.raises(UserError, match=r"5 examples of anatomy in .*; expected at least 6"):
        check_files(task, data_root)


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("gsm8k", "answer", None, "test.jsonl, row 2: 'answer' is 'None'; expected text"),
        ("gsm8k", "question", " ", "test.jsonl, row 2: 'question' is ' '; expected text"),
        ("mmlu", "choices", ["w", "x", "y"], "test.parquet, row 2: 'choices' is "),
        ("mmlu", "answer", 4, "test.parquet, row 2: 'answer' is "),
        ("mmlu", "subject", None, "test.parquet, row 2: 'subject' is "),
    ],
)
def test_a_row_that_is_no_question_is_named(name, column, value, message, data_root):
    if name == "gsm8k":
        path = data_root / "gsm8k" / "test.jsonl"
        write_jsonl(path, [GSM8K[0], GSM8K[1] | {column: value}, GSM8K[2]])
    else:
        import pyarrow as pa
        from pyarrow.parquet import write_table

        rows = mmlu_split("test")
        rows[1][column] = value
        write_table(pa.Table.from_pylist(rows), data_root / "mmlu" / "test.parquet")
    with pytest.raises(UserError, match=message):
        check_files(small_task(name), data_root)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("bbh/navigate.json", '{"rows": []}', "navigate.json: 'examples' holds a NoneType"),
        ("bbh/navigate.json", '{"examples": 1}', "'examples' holds a int; expected the list of rows"),
        ("bbh/navigate.json", '{"examples": [1]}', "row 1: 'input' is 'None'; expected text"),
        ("mmlu/test.parquet", "{", "test.parquet cannot be read as parquet"),
    ],
)
def test_a_file_of_another_kind_is_named(file, text, message, data_root):
    (data_root / file).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        check_files(small_task(file.split("/", maxsplit=1)[0]), data_root)


NAMES = ["gsm8k", "bbh", "mmlu", "mmlu_plain"]


def anatomy(number, answer=""):
    return f"\n\nWhich is anatomy {number}?\nA. w\nB. x\nC. y\nD. z\nAnswer:{answer}"


ANATOMY_5_SHOT = (
    "The following are multiple choice questions (with answers) about anatomy."
    + "".join(anatomy(100 + place, f" {letter}") for place, letter in enumerate("ABCDA"))
    + anatomy(0)
)
GOLDEN = {
    "gsm8k": "Question: Ann has 2 pens and buys 2 more. How many has she?\nAnswer:",
    "bbh_zeroshot_boolean_expressions": "Evaluate the result of a random Boolean expression.\n\nQ: not ( True ) is\nA:",
    "bbh_zeroshot_navigate": "Given a series of navigation instructions, determine whether one would end up back at "
    "the starting point.\n\nQ: Take 1 step. Turn around. Take 1 step.\nOptions:\n- Yes\n- No\nA:",
    "mmlu_anatomy": ANATOMY_5_SHOT,
    "mmlu_astronomy": ANATOMY_5_SHOT.replace("anatomy", "astronomy"),
}


@pytest.fixture
def load(tmp_path, data_root, monkeypatch):
    """lm-eval's tasks: from the local files, or as published, with our rows in the place of the hub's."""
    pytest.importorskip("lm_eval")
    import datasets
    from lm_eval.tasks import TaskManager

    from_files = datasets.load_dataset

    def load_dataset(path, name=None, **kwargs):
        return from_files(path, name, **kwargs) if path in {"json", "parquet"} else hub_rows(path, str(name))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    def loaded(task, published=False):
        folder = tmp_path / f"{task.name}-{published}"
        name = write_definitions(task, task.subsets, None if published else data_root, folder)
        tasks = TaskManager(include_path=str(folder), include_defaults=False).load([name])
        return tasks

    return loaded


def hub_rows(path, name):
    from datasets import Dataset, DatasetDict

    splits = {
        "openai/gsm8k": lambda: {"train": GSM8K, "test": GSM8K},
        "SaylorTwift/bbh": lambda: {"test": BBH[name]},
        "cais/mmlu": lambda: {
            split: [row for row in mmlu_split(split) if row["subject"] == name] for split in ("test", "dev")
        },
    }[path]()
    return DatasetDict({split: Dataset.from_list(rows) for split, rows in splits.items()})


def chat(messages, add_generation_prompt):
    return repr((messages, add_generation_prompt))


@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_this_text(name, load):
    for leaf, task in load(small_task(name))["tasks"].items():
        assert task.fewshot_context(task.eval_docs[0], task.config.num_fewshot) == GOLDEN[leaf]


@pytest.mark.parametrize("name", NAMES)
def test_local_files_give_the_published_tasks_prompts_targets_and_scoring(name, load):
    spec = small_task(name)
    ours, published = load(spec), load(spec, published=True)
    assert ours["tasks"].keys() == published["tasks"].keys()
    how = {"apply_chat_template": spec.chat_template, "fewshot_as_multiturn": spec.fewshot_as_turns}
    for leaf, task in ours["tasks"].items():
        theirs = published["tasks"][leaf]
        assert len(task.eval_docs) == len(theirs.eval_docs) > 0
        for doc, same in zip(task.eval_docs, theirs.eval_docs, strict=True):
            prompt = task.fewshot_context(doc, spec.num_fewshot, chat_template=chat, **how)
            assert prompt == theirs.fewshot_context(same, spec.num_fewshot, chat_template=chat, **how)
            assert task.doc_to_target(doc) == theirs.doc_to_target(same)
        for key in ("filter_list", "metric_list", "generation_kwargs", "doc_to_choice", "output_type", "num_fewshot"):
            assert getattr(task.config, key) == getattr(theirs.config, key), key
        assert task.VERSION == theirs.VERSION


def test_with_a_template_the_examples_are_turns_of_the_chat(load):
    task = load(small_task("mmlu"))["tasks"]["mmlu_anatomy"]
    messages = []

    def keep(given, add_generation_prompt):
        messages.extend(given)
        return ""

    doc = task.eval_docs[0]
    task.fewshot_context(doc, 5, apply_chat_template=True, fewshot_as_multiturn=True, chat_template=keep)
    assert [message["role"] for message in messages] == ["system", *["user", "assistant"] * 5, "user"]
    assert [message["content"] for message in messages if message["role"] == "assistant"] == list("ABCDA")


@pytest.mark.parametrize(("name", "group"), [("gsm8k", None), ("bbh", "bbh_zeroshot"), ("mmlu", "mmlu")])
def test_the_groups_aggregation_is_the_published_one(name, group, load):
    groups = load(small_task(name))["groups"]
    assert list(groups) == ([group] if group else [])
    for one in groups.values():
        assert [(metric.metric, metric.weight_by_size) for metric in one.aggregate_metric_list] == [
            (small_task(name).metric, True)
        ]


def test_only_the_subsets_that_are_asked_are_loaded(tmp_path, data_root):
    pytest.importorskip("lm_eval")
    write_definitions(small_task("mmlu"), ["astronomy"], data_root, tmp_path / "defs")
    assert sorted(path.name for path in (tmp_path / "defs").iterdir()) == ["_group.yaml", "astronomy.yaml"]
    group = yaml.safe_load((tmp_path / "defs" / "_group.yaml").read_text(encoding="utf-8"))
    assert group["task"] == ["mmlu_astronomy"]


def test_without_local_files_only_the_shots_are_ours(tmp_path):
    pytest.importorskip("lm_eval")
    write_definitions(small_task("gsm8k"), ["all"], None, tmp_path)
    values = yaml.safe_load((tmp_path / "all.yaml").read_text(encoding="utf-8"))
    assert Path(values.pop("include")).is_absolute()
    assert values == {"task": "gsm8k", "num_fewshot": 0}


def test_the_definitions_hash_covers_what_an_included_file_says(tmp_path, monkeypatch):
    leaf, template = tmp_path / "gsm8k.yaml", tmp_path / "_template_yaml"
    leaf.write_text("include: _template_yaml", encoding="utf-8")
    template.write_text("doc_to_text: Q", encoding="utf-8")
    monkeypatch.setattr(tasks, "_published", lambda relative: leaf)
    before = definitions_sha256(small_task("gsm8k"))
    assert definitions_sha256(small_task("gsm8k")) == before
    template.write_text("doc_to_text: Question", encoding="utf-8")
    assert definitions_sha256(small_task("gsm8k")) != before


def test_an_lm_eval_without_the_definition_is_named(tmp_path):
    pytest.importorskip("lm_eval")
    task = small_task("gsm8k").model_copy(update={"definition": "gsm9k/gsm9k.yaml"})
    with pytest.raises(UserError, match=r"lm-eval .* has no task file gsm9k/gsm9k.yaml"):
        write_definitions(task, ["all"], None, tmp_path)


SUBSETS = {"large": 60, "middle": 30, "small": 10}


def test_without_a_limit_every_row_is_asked():
    assert sampled({"a": 2, "b": 1}, None, 0) == {"a": [0, 1], "b": [0]}
    assert sampled({"a": 2, "b": 1}, 99, 0) == {"a": [0, 1], "b": [0]}


@pytest.mark.parametrize("limit", [*range(1, 100, 7), 20])
def test_each_subset_is_within_one_of_its_share_and_absent_without_a_question(limit):
    taken = sampled(SUBSETS, limit, 3)
    assert sum(map(len, taken.values())) == limit and all(taken.values())
    assert all(abs(len(taken.get(subset, [])) - limit * size / 100) <= 1 for subset, size in SUBSETS.items())
    assert all(rows == sorted(set(rows)) and rows[-1] < SUBSETS[subset] for subset, rows in taken.items())
