"""Folders into numbers and jobs into cells: a number with its difference, or a word; by hand and by the verb itself."""

from dataclasses import replace

import pytest
from evaluation.small_evaluation import ANSWER, ScriptedGenerator, overrides, set_up, use_generator, write_model
from rich.console import Console

from cada_trl import evaluate as verb
from cada_trl.document.render import markdown, show
from cada_trl.errors import UserError
from cada_trl.jobs import table_cells
from cada_trl.jobs.job import Call, Job
from cada_trl.jobs.table_cells import Number, TableCell, answered, evaluated, paper_number
from cada_trl.jobs.table_cells import table_cells as cells_of
from cada_trl.jobs.table_plan import Block, Layout, TableColumn, TablePlan, TableRow, load_models, load_table_settings
from cada_trl.report.records import read_evaluation
from cada_trl.statistics.intervals import wilson
from cada_trl.statistics.seeds import across_seeds
from cada_trl.table import as_json, table_page
from tests.report.made_up_evaluation import RefusedJudge, answers_most, write_evaluation
from tests.report.made_up_utility import write_utility

from .conftest import stub

CADA = TableRow(id="cada", method="CADA", recipe="cada")
STRONGREJECT = TableColumn(benchmark="strongreject", attacks=["none", "pair"], measures=["asr"])
ASKED = Number(value=0.25, low=0.2, high=0.35, n=300, asked=313, n_seeds=3, sd=0.01, reason=None)
KNOWN_FOR_FEW = Number(value=None, low=None, high=None, n=3, asked=313, n_seeds=1, sd=None, reason="known for 3 of 313")


def plan(*jobs, lacking=None, model="llama3"):
    block = Block(CADA, STRONGREJECT, jobs, lacking or {})
    settings = load_table_settings(["table=3", f"model={model}"])
    layout = Layout(title="title", rows=[CADA], columns=[STRONGREJECT])
    return TablePlan(settings, layout, load_models().named(model), [block], call_usd=None)


def done(tmp_path, name):
    job = stub(tmp_path, name)
    job.done.touch()
    return job


@pytest.fixture
def scored(monkeypatch):
    """Every evaluation has ASKED; what was read is remembered."""
    read = []

    def evaluated(folders, *_):
        read.append(folders)
        return ASKED

    monkeypatch.setattr(table_cells, "evaluated", evaluated)
    return read


def test_a_finished_cell_has_the_difference_to_the_papers_number(tmp_path, scored):
    none, pair = cells_of(plan(done(tmp_path, "s0"), done(tmp_path, "s1")), {})
    assert (none.state, none.ours, pair.attack) == ("done", ASKED, "pair")
    assert pair.paper is not None and (pair.paper.value, pair.paper.sd) == (20.4, 1.2)
    assert pair.difference is not None
    assert pair.difference.model_dump() == pytest.approx({"value": 4.6, "low": -0.4, "high": 14.6}, abs=1e-9)
    assert scored == [[tmp_path / "s0", tmp_path / "s1"]] * 2


@pytest.mark.parametrize(
    ("case", "state", "reason"),
    [
        ("an open seed", "to do", "s1"),
        ("a failed job", "failed", "s1: exit code 1"),
        ("a failed training", "not run", "train failed"),
        ("nothing published", "no prompts", "nobody published them"),
        ("too few scored", "withheld", "known for 3 of 313"),
        ("a damaged file", "failed", "scores.json is not a JSON object"),
    ],
)
def test_a_cell_without_a_number_says_why(case, state, reason, tmp_path, monkeypatch):
    def evaluated(*_):
        if case == "a damaged file":
            raise UserError("scores.json is not a JSON object")
        return KNOWN_FOR_FEW

    monkeypatch.setattr(table_cells, "evaluated", evaluated)
    training = stub(tmp_path, "train") if case == "a failed training" else None
    is_done = case in ("too few scored", "a damaged file")
    second = done(tmp_path, "s1") if is_done else stub(tmp_path, "s1", trained=training)
    failed = {"a failed job": {"s1": "exit code 1"}, "a failed training": {"train": "exit code 1"}}.get(case, {})
    lacking = {"none": ("no prompts", "nobody published them")} if case == "nothing published" else None
    cell = cells_of(plan(done(tmp_path, "s0"), second, lacking=lacking), failed)[0]
    assert (cell.state, cell.reason, cell.ours, cell.difference) == (state, reason, None, None)


def test_the_papers_number_is_that_of_the_very_table():
    found = paper_number(3, "llama3", "w/o SR", "strongreject", "pair", "asr")
    assert found is not None and (found.model, found.value, found.sd) == ("LLaMA-3-8B", 44.4, None)
    rounded = paper_number(1, "llama3", "w/o SR", "strongreject", "pair", "asr")
    assert rounded is not None and rounded.value == 44.41
    assert paper_number(3, "llama3_70b", "CADA", "strongreject", "pair", "asr") is None
    assert paper_number(3, "llama3", "rejection-sampled SFT (ours)", "strongreject", "pair", "asr") is None


def test_terminal_markdown_and_json_say_the_same(tmp_path, scored):
    lacking = {"none": ("no access", "it is gated")}
    whole = plan(done(tmp_path, "s0"), lacking=lacking, model="smollm2")
    rows = cells_of(whole, {})
    page, console = table_page(whole, rows), Console(width=200)
    with console.capture() as captured:
        show(page, console)
    for text in (captured.get(), markdown(page)):
        assert "Table 3, smollm2: title" in text
        line = next(line for line in text.splitlines() if "StrongREJECT, PAIR" in line)
        for part in ("20.4 ± 1.2", "25.0 ± 1.0", "20.0 to 35.0", "+4.6 [-0.4, +14.6]", "300 of 313 x 3 seeds"):
            assert part in line
        assert "no access" in next(line for line in text.splitlines() if "StrongREJECT, no attack" in line)
        assert "- the paper has no smollm2: LLaMA-3-8B stands beside it, another model\n" in text
    values = as_json(whole, rows)
    assert [TableCell.from_json(cell) for cell in values["cells"]] == rows
    assert "no access, StrongREJECT: it is gated" in values["notes"]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """An evaluation of six harmful requests: 2 refused, 3 answered, 1 with nothing said."""
    set_up(tmp_path, monkeypatch)
    return overrides(tmp_path, "min_coverage=0.5")


def asking(words, trained=None):
    return Job("six", "six", (Call("evaluate", tuple(words)),), trained)


@pytest.fixture
def folder(words):
    assert asking(words).results() is None
    assert verb.main(words) == 0
    (result,) = asking(words).results() or ()
    return result


def test_a_job_finds_the_folder_of_its_own_evaluation_and_no_other(words, folder):
    assert (folder / "scores.json").is_file()
    assert asking([*words, "limit=2"]).results() is None
    assert asking([*words, "max_new_tok=7"]).results() is None
    (folder / "scores.json").unlink()
    assert asking(words).results() is None


def test_an_evaluation_of_a_run_that_is_not_there_is_open(words, folder, tmp_path):
    training = Job("s0", "s0", (Call("train", ("data=twins", f"runs_dir={tmp_path / 'runs'}")),))
    assert asking(words, training).results() is None


def test_one_seed_has_the_interval_of_its_own_scores(folder):
    found = evaluated([folder], "harmful_six", "none", "asr")
    assert (found.value, found.n, found.asked, found.n_seeds, found.sd) == (3 / 5, 5, 6, 1, None)
    assert (found.low, found.high) == wilson(3, 5)


def test_a_judge_that_gives_no_score_leaves_it_unknown(folder):
    found = evaluated([folder], "harmful_six", "none", "harmful_score")
    assert (found.value, found.low) == (None, None)
    assert found.reason is not None and found.reason.startswith("none of 6 has it")


def test_a_cell_that_was_not_asked_is_no_number(folder):
    assert evaluated([folder], "harmful_six", "pap", "asr").reason == "not in the evaluation's scores"


@pytest.fixture
def complying(folder, tmp_path, monkeypatch):
    """The same evaluation of a model that refuses nothing and says nothing to the same item."""
    use_generator(monkeypatch, ScriptedGenerator(lambda messages: "" if "Lie" in messages[-1]["content"] else ANSWER))
    write_model(tmp_path / "other", weights=b"\1" * 16)
    words = overrides(tmp_path, "min_coverage=0.5", model="other")
    verb.main(words)
    (other,) = asking(words).results() or ()
    assert other != folder
    return other


@pytest.mark.slow
def test_seeds_are_averaged_over_the_items_that_each_of_them_knows(folder, complying):
    found = evaluated([folder, complying], "harmful_six", "none", "asr")
    expected = across_seeds([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    assert (found.value, found.sd, found.low, found.high) == (0.8, expected.sd, expected.low, expected.high)
    assert (found.n, found.asked, found.n_seeds) == (5, 6, 2)


def test_seeds_that_two_judges_judged_have_no_mean(tmp_path):
    folders = [
        write_evaluation(tmp_path / f"s{i}", answers_most, judge) for i, judge in enumerate((None, RefusedJudge()))
    ]
    with pytest.raises(UserError, match=r"judged by different judges \(phrases-\w+, refused-made-up-1\)"):
        evaluated(folders, "strongreject", "none", "asr")


@pytest.mark.slow
def test_too_few_shared_items_are_withheld(folder, complying, monkeypatch):
    records = [read_evaluation(path) for path in (folder, complying)]
    strict = replace(records[0], scores=records[0].scores.model_copy(update={"min_coverage": 0.9}))
    monkeypatch.setattr(table_cells, "read_evaluation", lambda path: strict if path == folder else records[1])
    found = evaluated([folder, complying], "harmful_six", "none", "asr")
    assert (found.value, found.sd) == (None, None)
    assert found.reason == "known for 5 of 6 (83.3 %), less than min_coverage 90 %"


def test_the_accuracy_of_a_task_is_its_results_and_over_seeds_that_of_its_questions(tmp_path):
    right, half = (
        write_utility(tmp_path / name, {"bbh": correct}) / "bbh-00000000"
        for name, correct in (("a", [True] * 4), ("b", [True, False] * 2))
    )
    one = answered([half])
    assert (one.value, one.low, one.high, one.n) == (0.5, *wilson(2, 4), 4)
    both, expected = answered([right, half]), across_seeds([[1, 1, 1, 1], [1, 0, 1, 0]])
    assert (both.value, both.sd, both.low) == (0.75, expected.sd, expected.low)
