"""The documentation's commands hold: each ```bash block is executed or read.

A block whose first line is `# ci: dry-run` is executed, training commands with --dry-run. In every other block each
command is taken as far as its verb reads its words, which needs no weights, no network and no folder of a run.
"""

import os
import re
import shlex
import subprocess
import tomllib
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evaluation.case_ranking import split_n_twins
from cada_trl.evaluation.settings import load_evaluate_config

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "recipes/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^|\s)#.*")
EXECUTED = "# ci: dry-run\n"

# What stands for the reader's own thing, and a value that can be read in its place.
PLACEHOLDERS = {
    "runs/<name>": "smollm2",
    "<the run>": "smollm2",
    "<data words>": "data=paper",
    "<method>": "cada",
    "policy=<name>": "hazards=builtin",
    "<0 or 1>": "1",
    "<0, 1 or 2>": "1",
}

# Neither executed nor read: a program that is not ours.
FOREIGN = {
    "vllm serve": "needs vLLM on a GPU, and weights",
    "pip uninstall": "changes the environment",
    "pip wheel": "tests/test_package.py builds one",
    **dict.fromkeys(("sbatch ", "scancel ", "srun "), "need Slurm; tests/end_to_end/test_slurm.py has one"),
    **dict.fromkeys(("wandb login", "wandb sync"), "need an account; tests/tracking/test_mirror.py has a stand-in"),
    "inspect view": "a server; tests/test_export.py lists what it shows",
    "SERVER_GPUS=4": "needs five GPUs; tests/test_launch.py runs the script with stand-ins",
}


def commands(page, executed):
    """The commands of the blocks that are executed, or of the others: without comments, continued lines joined."""
    found, waiting = [], ""
    for block in BLOCK.findall(page):
        if block.startswith(EXECUTED) is executed:
            for line in block.replace("\\\n", " ").splitlines():
                waiting = f"{waiting}\n{COMMENT.sub('', line)}".strip()
                try:
                    shlex.split(waiting)
                except ValueError:  # a quoted word goes on in the next line
                    continue
                found += [waiting] if waiting else []
                waiting = ""
    assert not waiting, f"a quote is not closed: {waiting}"
    return found


def that_make_calls(command):
    """The commands that `make ...` runs, with everything installed. Make's own variables are taken out: an outer
    `make test ARGS=...` would pass its ARGS on."""
    env = {name: value for name, value in os.environ.items() if name not in {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES"}}
    stamps = ["-o", ".venv/.installed", "-o", ".venv/.installed-for-tests", "-o", ".venv-vllm/.installed"]
    words = ["make", *stamps, "VENV_PYTHON=python", "VLLM_PYTHON=python", "-n", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("python -m ") and " pip " not in line]


def calls(command):
    """The module and the words of each of our verbs that the command calls; a training's with --dry-run."""
    found = []
    for line in that_make_calls(command) if command.startswith("make ") else [command]:
        python, flag, module, *words = shlex.split(line)
        assert (python, flag) == ("python", "-m"), f"not known: {line}"
        found.append((module, [*dict.fromkeys([*words, "--dry-run"])] if module == "cada_trl.train" else words))
    assert found, f"no verb: {command}"
    return found


TEXTS = [(page.name, page.read_text(encoding="utf-8")) for page in PAGES]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), [(name, line) for name, text in TEXTS for line in commands(text, True)])
def test_a_marked_command_runs(page, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    for module, words in calls(command):
        assert verb(module).main(words) == 0


def verb(module):
    room = (ROOT / "src" / module.replace(".", "/")).is_dir()
    return import_module(f"{module}.__main__" if room else module)


class _Reached(Exception):
    """The verb has read its words and goes to work."""


def _reads(name):
    """A verb that reads all its words by one function."""
    return lambda verb, words: getattr(verb, name)([word for word in words if word != "--dry-run"])


def _of_run(settings):
    return lambda verb, words: verb.run_words(words, getattr(verb, settings))


def _refuses_folders(verb, words):
    """A verb that reads folders of runs gets as far as the first of them, which is not there."""
    with pytest.raises(UserError, match=r"is no folder|[Nn]o such"):
        verb.main(words)


def _measures(verb, words):
    """A benchmark gets as far as its first process, or as what only another installation has."""

    def reached(*_, **__):
        raise _Reached

    if "--dry-run" in words:
        assert verb.main(words) == 0
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "in_own_process", reached)
        with pytest.raises((_Reached, UserError)) as ended:
            verb.main(words)
    assert ended.type is _Reached or re.search(r"vllm|GPU|is not a folder", str(ended.value)), ended.value


def _dashboard(verb, words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "_packages", lambda: (_ for _ in ()).throw(_Reached()))
        with pytest.raises(_Reached):
            verb.main(words)


def _labels(verb, words):
    """The folder with the labels is any that is there."""
    verb._parse([f"labels={ROOT}" if word.startswith("labels=") else word for word in words])


def _sweep(verb, words):
    request = verb.read_request(words)
    cards = [word.removeprefix("ablation=") for word in words if word.startswith("ablation=")]
    assert all((ROOT / f"hydra_conf/ablation/{card}.yaml").is_file() for card in cards)
    assert request.config.evaluate


def _nothing(verb, words):
    """Its words are files or JSON, which only the work itself reads."""
    assert words or verb


def _policy(verb, words):
    """The file is the reader's; the overrides behind it are those of a training."""
    assert words[0] in {"new", "check", "rank"}
    verb.load_config(split_n_twins(words[2:])[0] if words[0] == "rank" else words[2:])


def _fetch(verb, words):
    """It gets as far as the first file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "fetch", lambda *words: 0)
        assert verb.main(words) == 0


def _tamper(verb, words):
    """Its plan, without the weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb, "model_identity", lambda model: {})
        assert verb.main([*dict.fromkeys([*words, "--dry-run"])]) == 0


READERS = {
    "cada_trl.train": _reads("load_config"),
    "cada_trl.prepare": _reads("load_config"),
    "cada_trl.policy": _policy,
    "cada_trl.doctor": _reads("load_config"),
    "cada_trl.rehearse": _reads("load_config"),
    "cada_trl.card": lambda verb, words: verb.load_config(verb.split_curve(words)[0]),
    "cada_trl.rollouts.serve": _reads("load_config"),
    "cada_trl.evaluate": _reads("load_evaluate_config"),
    "cada_trl.faithfulness": _reads("load_faithfulness_config"),
    "cada_trl.utility": _reads("load_utility_config"),
    "cada_trl.table": _reads("load_table_settings"),
    "cada_trl.tamper": _tamper,
    "cada_trl.sweep": _sweep,
    "cada_trl.report": _refuses_folders,
    "cada_trl.why": _refuses_folders,
    "cada_trl.certificate": _refuses_folders,
    "cada_trl.export_eval": _refuses_folders,
    "cada_trl.export": _of_run("ExportSettings"),
    "cada_trl.chat": _of_run("ChatSettings"),
    "cada_trl.judging.calibrate": _labels,
    "cada_trl.tracking.wandb_dashboard": _dashboard,
    "benchmarks.e2e": _measures,
    "benchmarks.step": _measures,
    "benchmarks.gpu": _measures,
    "benchmarks.rollouts": _measures,
    "benchmarks.generation": _measures,
    "benchmarks.harness": _nothing,
    "cada_trl.data.classify_card": _nothing,
    "cada_trl.data.fetch": _fetch,
}


@cache
def extras():
    return set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])


def read(command):
    """Takes the command as far as its words are read. Errors: whatever the verb says of them."""
    for placeholder, value in PLACEHOLDERS.items():
        command = command.replace(placeholder, value)
    command = re.sub(r"<([^<>]*)>", lambda thing: re.sub(r"\W+", "-", thing[1]), command)
    command = re.sub(r"^CUDA_VISIBLE_DEVICES=\S+ ", "", command)  # where it runs
    if command.startswith(tuple(FOREIGN)):
        return
    if command.startswith("make "):
        for line in that_make_calls(command):
            read(line)
        return
    if command.startswith("inspect eval cada_trl/benchmarks "):
        load_evaluate_config([word for flag, word in pairwise(shlex.split(command)) if flag == "-T"])
        return
    if "pip install" in command:
        assert {name for found in re.findall(r"\.\[([a-z,-]+)\]", command) for name in found.split(",")} <= extras()
        return
    python, *words = shlex.split(command)
    assert python in {"python", ".venv/bin/python", ".venv-vllm/bin/python"}, f"not known: {command}"
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), f"no such script: {command}"
        return
    if words[1] not in {"pytest", "ruff", "mypy", "mutmut", "mkdocs"}:
        READERS[words[1]](verb(words[1]), words[2:])


@pytest.mark.parametrize(("page", "command"), [(name, line) for name, text in TEXTS for line in commands(text, False)])
def test_every_other_command_is_read_by_its_verb(page, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    read(command)


def test_a_misspelt_word_of_an_unmarked_command_is_found():
    for command in (
        "python -m cada_trl.train beta_lk=0.1",
        "make evaluate ARGS='suit=quick'",
        "python -m cada_trl.utility model=smollm2 task=gsm8k",
        "python -m cada_trl.sweep beta_kl=0.0,0.1 --dryrun",
        "python -m cada_trl.chat runs/a analyses=hide",
    ):
        with pytest.raises(UserError):
            read(command)
    for command in ("python -m cada_trl.report runs/a --output page", "pip install -e '.[no-such-extra]'"):
        with pytest.raises(AssertionError):
            read(command)


def test_blocks_are_taken_apart_and_continued_lines_are_one_command():
    page = (
        "```bash\nrm -rf /nothing\npython -m x '{\"a\":\n 1}'\n```\n"
        "text\n"
        "```bash\n# ci: dry-run\n"
        'make train \\\n  ARGS="beta_kl=0.1 seed=2"   # the KL\'s weight\n\n'
        "python -m cada_trl.train model=llama3\n```\n"
        "```python\n# ci: dry-run\nprint()\n```\n"
    )
    assert commands(page, True) == ['make train    ARGS="beta_kl=0.1 seed=2"', "python -m cada_trl.train model=llama3"]
    assert commands(page, False) == ["rm -rf /nothing", "python -m x '{\"a\":\n 1}'"]


def test_training_is_not_started_by_the_documentation():
    for command in ("make train", "make train MODEL=llama3", "python -m cada_trl.train seed=1"):
        ((module, words),) = calls(command)
        assert module == "cada_trl.train" and words.count("--dry-run") == 1
    assert calls("make judge-card JUDGE=phrases")[0][1][0] == "judge=phrases"
    with pytest.raises(AssertionError, match="not known"):
        calls("accelerate launch -m cada_trl.train seed=1")
