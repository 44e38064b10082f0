"""A verb as a process, by `cada VERB` or its module: lists, exit codes, one line for a mistake, no password in it."""

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec

import pytest

from cada_trl.cli import VERBS, overview
from cada_trl.config import CONF_DIR
from cada_trl.errors import StopAsked, run_verb

pytestmark = pytest.mark.slow

CONSOLE = [sys.executable, "-c", "from cada_trl.cli import main; main()"]


def called(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_console_command_is_the_one_that_is_installed():
    scripts = tomllib.loads((CONF_DIR.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts == {"cada": "cada_trl.cli:main"}
    module, _, function = scripts["cada"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_every_verb_is_a_module_and_a_line_of_the_overview():
    lines = overview().splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(VERBS)
    assert all(find_spec(f"cada_trl.{module}") for module in VERBS.values())
    assert all(len(line.split(maxsplit=1)[1]) > 20 and "python -m" not in line for line in lines)


def importing(*verbs):
    return f"import {', '.join(f'cada_trl.{VERBS[verb]}' for verb in verbs)}"


TORCH = {"torch", "transformers"}


@pytest.mark.parametrize(
    ("program", "heavy"),
    [
        (importing(*VERBS), TORCH | {"datasets", "scipy", "matplotlib", "wandb"}),
        (importing("doctor", "prepare", "train", "evaluate", "sweep", "table"), {"numpy", "jinja2"}),
        ("import cada_trl.cli; cada_trl.cli.overview()", {"hydra", "omegaconf", "pydantic", "torch", "numpy", "httpx"}),
        (
            "from cada_trl.config import load_config; load_config(['model=llama3'])",
            TORCH | {"trl", "datasets", "numpy", "scipy", "wandb", "httpx"},
        ),
        ("from cada_trl.train import main; main(['--dry-run'])", TORCH),
        ("from cada_trl.policy import main; main(['check', 'tenancy'])", TORCH),
        (
            "from cada_trl.config import load_config; from cada_trl.tracking.manifest import build_manifest; "
            "build_manifest(load_config([]), {}, {})",
            TORCH,
        ),
        (
            "from pathlib import Path; from cada_trl.config import load_config; "
            "from cada_trl.tracking.mirror import Mirror; from cada_trl.tracking.run_folder import RunFolder; "
            "run = Mirror.start(load_config(['tracking=local']), RunFolder(Path('run')), print); "
            "run.log(1, {'train/loss': 1.0}); run.finish(True)",
            {"wandb"},
        ),
    ],
)
def test_nothing_waits_for_what_it_does_not_need(program, heavy, tmp_path):
    program = f"{program}; import sys; print(sorted({heavy} & set(sys.modules)))"
    code, out, err = called(sys.executable, "-c", program, cwd=tmp_path)
    assert (code, out.splitlines()[-1]) == (0, "[]"), err
    assert not list(tmp_path.rglob("wandb"))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_verbs_are_listed(words):
    assert called(*CONSOLE, *words) == (0, overview() + "\n", "")


def test_an_unknown_verb_is_one_line_with_the_nearest():
    assert called(*CONSOLE, "trian") == (2, "", "error: no verb 'trian'; did you mean train?\n")


@pytest.mark.parametrize("verb", ["train", "sweep", "export", "report"])
def test_help_of_a_verb_is_that_of_its_module(verb):
    code, out, err = called(*CONSOLE, verb, "--help")
    assert (code, err) == (0, "")
    assert (code, out, err) == called(sys.executable, "-m", f"cada_trl.{verb}", "--help")
    assert f"python -m cada_trl.{verb}" in out


def test_words_and_exit_codes_go_through():
    code, out, err = called(*CONSOLE, "train", "beta_kk=0.1")
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown key 'beta_kk'; did you mean beta_kl") and err.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["--config"]])
def test_a_reader_that_goes_away_leaves_no_traceback(words):
    command = [sys.executable, "-m", "cada_trl.train", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("hub_id=https://me:pass1234@host/x", "hub_id"),
        ("model=https://pass1234@host/x?a=b", "model"),
        ("https://me:pass1234@host/x", "a word"),
    ],
)
def test_an_address_with_a_password_is_refused_in_any_word_and_not_repeated(word, name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["verb", "seed=0", word])
    with pytest.raises(SystemExit) as stop:
        run_verb(lambda argv: pytest.fail("the verb was called"))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith(f"error: {name} holds an address with a password")
    assert "pass1234" not in said


@pytest.mark.parametrize("word", ["ask=mail a@b about http://host", "base_url=http://u:p@h", "file=a@b/c"])
def test_other_words_reach_the_verb(word, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["verb", word])
    with pytest.raises(SystemExit) as stop:
        run_verb(lambda argv: int(argv != [word]))
    assert stop.value.code == 0


@pytest.mark.parametrize(("rank", "said"), [("0", "stopped: asked to\n"), ("3", "")])
def test_of_the_ranks_that_stop_together_the_first_says_so_and_all_end_alike(rank, said, monkeypatch, capsys):
    def stopped(argv):
        raise StopAsked("asked to")

    monkeypatch.setattr(sys, "argv", ["verb"])
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as stop:
        run_verb(stopped)
    assert stop.value.code == StopAsked.exit_code and capsys.readouterr().err == said
