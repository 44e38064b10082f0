"""launch/: its accelerate files as accelerate reads them, its scripts with stand-ins for python, srun and scontrol."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from cada_trl.config import CONF_DIR, load_config
from cada_trl.launching import launcher_command

ROOT = CONF_DIR.parent
FILES = sorted(set((ROOT / "launch").glob("*.yaml")) - {ROOT / "launch" / "sky.yaml"})  # SkyPilot's is no launcher's
# What a stand-in python does for each module is a shell function of the test.
PYTHON = """#!/bin/bash
echo "python $* | NODE_RANK=$NODE_RANK MASTER_ADDR=$MASTER_ADDR CUDA_VISIBLE_DEVICES=$CUDA_VISIBLE_DEVICES" >> "$LOG"
case "$2" in
  cada_trl.doctor) exit "${DOCTOR_CODE:-0}" ;;
  cada_trl.rollouts.serve) exec "$REAL_PYTHON" -c "$SERVER" ;;
  cada_trl.train) eval "${TRAIN:-exit 0}" ;;
esac
"""
SRUN = """#!/bin/bash
case " $* " in *" --nodes=2 "*) exit "${DEAD_NODE:-0}" ;; esac
trap 'kill -USR1 $task' USR1            # srun passes the signal on
while [[ $1 == --* ]]; do shift; done
SLURM_NODEID=1 "$@" & task=$!
wait $task; code=$?
while kill -0 $task 2>/dev/null; do wait $task; code=$?; done
exit $code
"""
SCONTROL = """#!/bin/bash
case "$1 $2" in
  "show hostnames") printf 'first\\nsecond\\n' ;;
  "show node") echo "   NodeAddr=address-of-$3 NodeHostName=$3" ;;
  *) echo "scontrol $*" >> "$LOG" ;;
esac
"""


def _heard():
    """What runs the tests in the background ignores Ctrl-C, and a shell cannot trap what was ignored when it began."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Cluster:
    """A PATH with stand-ins, and the log of what was called."""

    def __init__(self, folder):
        self.log, self.bin = folder / "calls.log", folder / "bin"
        self.bin.mkdir()
        for name, text in (("python", PYTHON), ("srun", SRUN), ("scontrol", SCONTROL)):
            (self.bin / name).write_text(text, encoding="utf-8")
            (self.bin / name).chmod(0o755)

    def start(self, script, *words, **environment):
        env = {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "LOG": str(self.log)}
        slurm = {
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2",
        }
        return subprocess.Popen(
            ["bash", script, *words],
            cwd=ROOT,
            env=env | slurm | environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heard,  # noqa: PLW1509
        )

    def run(self, script, *words, **environment):
        process = self.start(script, *words, **environment)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def calls(self):
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def commands(self):
        return [call.partition(" | ")[0] for call in self.calls()]


@pytest.fixture
def cluster(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    yield Cluster(tmp_path)


WORDS = ("model=llama3", "hardware=a100x16", "hazards=my pack")


def test_preflight_checks_before_it_prepares(cluster):
    assert cluster.run("launch/preflight.sh", *WORDS)[0] == 0
    words = " ".join(WORDS)
    assert cluster.commands() == [f"python -m cada_trl.doctor {words}", f"python -m cada_trl.prepare {words}"]


def test_a_failed_check_stops_a_preflight_and_a_slurm_job(cluster):
    for script in ("launch/preflight.sh", "launch/slurm.sh"):
        assert cluster.run(script, *WORDS, DOCTOR_CODE="1")[0] == 1
    assert {command.split()[2] for command in cluster.commands()} == {"cada_trl.doctor"}


def test_slurm_tells_each_node_its_rank_and_the_first_nodes_address(cluster):
    assert cluster.run("launch/slurm.sh", *WORDS)[0] == 0
    trained = [call for call in cluster.calls() if "cada_trl.train" in call]
    assert len(trained) == 1
    assert trained[0].startswith("python -m cada_trl.train model=llama3 hardware=a100x16 hazards=my pack |")
    assert "NODE_RANK=1 MASTER_ADDR=address-of-first" in trained[0]


@pytest.mark.parametrize(
    ("code", "restarts", "ends_with", "requeued"),
    [(0, 0, 0, False), (75, 0, 75, True), (75, 49, 75, True), (75, 50, 75, False), (1, 0, 1, False), (2, 0, 2, False)],
)
def test_only_a_run_that_asks_to_go_on_is_requeued_and_not_for_ever(cluster, code, restarts, ends_with, requeued):
    ended, _ = cluster.run("launch/slurm.sh", *WORDS, TRAIN=f"exit {code}", SLURM_RESTART_COUNT=str(restarts))
    assert ended == ends_with
    assert ("scontrol requeue 7" in cluster.calls()) is requeued


@pytest.mark.parametrize(("dead_node", "requeued"), [("0", False), ("1", True)])
def test_a_failed_run_is_requeued_where_a_node_of_it_no_longer_answers(cluster, dead_node, requeued):
    code, _ = cluster.run("launch/slurm.sh", *WORDS, TRAIN="exit 1", DEAD_NODE=dead_node)
    assert code == (75 if requeued else 1)
    assert ("scontrol requeue 7" in cluster.calls()) is requeued


@pytest.mark.parametrize(("name", "code"), [("SIGUSR1", 75), ("SIGTERM", 1)])
def test_a_signal_reaches_the_trainer_and_torchruns_code_of_one_is_requeued_but_not_after_scancel(cluster, name, code):
    """The stand-in trainer sets a handler of its own over the ignored signal, as Python's signal module can."""
    handler = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(1))\n"
        "print('waiting', file=open(os.environ['LOG'], 'a'), flush=True)\n"
        "time.sleep(30)"
    )
    process = cluster.start(
        "launch/slurm.sh",
        *WORDS,
        TRAIN='exec "$REAL_PYTHON" -c "$HANDLER"',
        HANDLER=handler,
        REAL_PYTHON=shutil.which("python3") or "",
    )
    deadline = time.monotonic() + 30
    while "waiting" not in cluster.calls() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=30)
    assert process.returncode == code
    assert ("scontrol requeue 7" in cluster.calls()) is (name == "SIGUSR1")


def test_a_slurm_job_asks_for_the_signal_early_enough_and_may_be_requeued():
    lines = (ROOT / "launch" / "slurm.sh").read_text(encoding="utf-8").splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    assert {"--signal=B:USR1@300", "--requeue", "--open-mode=append", "--ntasks-per-node=1"} <= set(options)


def test_slurms_default_nodes_are_those_of_the_two_node_hardware():
    hardware = load_config(["model=llama3", "hardware=a100x16"]).hardware
    text = (ROOT / "launch" / "slurm.sh").read_text(encoding="utf-8")
    n_nodes, n_gpus = (int(text.split(f"#SBATCH --{name}=")[1].split()[0]) for name in ("nodes", "gpus-per-node"))
    assert n_nodes * n_gpus == hardware.n_processes


@pytest.fixture
def served():
    """The script's environment: GPUs, a free port, and a stand-in server that listens there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = (
        f"import socket; s = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen(); __import__('time').sleep(30)"
    )
    return {
        "SERVER_GPUS": "4",
        "TRAIN_GPUS": "0,1,2,3",
        "PORT": str(port),
        "SERVER": server,
        "REAL_PYTHON": shutil.which("python3") or "",
    }


@pytest.mark.slow
def test_the_server_and_the_training_have_gpus_of_their_own(cluster, served):
    gpus, port = served, served["PORT"]
    assert cluster.run("launch/vllm_server.sh", "model=llama3", "hardware=a100x4", **gpus)[0] == 0
    words = f"model=llama3 hardware=a100x4 rollout=vllm_server server_url='http://127.0.0.1:{port}'"
    seen = [(call.partition(" | ")[0], call.rpartition("=")[2]) for call in cluster.calls()]
    assert seen == [
        (f"python -m cada_trl.rollouts.serve {words}", "4"),
        (f"python -m cada_trl.doctor {words}", "0,1,2,3"),
        (f"python -m cada_trl.prepare {words}", "0,1,2,3"),
        (f"python -m cada_trl.train {words}", "0,1,2,3"),
    ]
    config = load_config(shlex.split(words.replace("'", '"\'"')))
    assert config.rollout.server_url == [f"http://127.0.0.1:{port}"]


@pytest.mark.parametrize("word", ["server_url='http://other:8000'", "rollout=transformers"])
def test_a_word_that_the_servers_script_says_itself_is_refused(cluster, served, word):
    code, errors = cluster.run("launch/vllm_server.sh", "model=llama3", word, **served)
    assert (code, cluster.calls()) == (2, [])
    assert errors == f"error: {word}: this script starts the server and sets it; PORT=8001 chooses its port\n"


def test_a_port_where_another_server_answers_is_refused(cluster, served):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(served["PORT"])))
        other.listen()
        code, errors = cluster.run("launch/vllm_server.sh", "model=llama3", **served)
    assert code == 2
    assert f"error: something answers at 127.0.0.1:{served['PORT']} already" in errors
    assert cluster.calls() == []


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "heard"), [("SIGTERM", "15"), ("SIGUSR1", "10"), ("SIGINT", "15")])
def test_a_signal_to_the_servers_script_reaches_the_training_which_says_how_it_ended(cluster, served, sent, heard):
    trainer = (
        "import os, signal, sys, time\n"
        "def end(number, _):\n"
        "    print('heard', number, file=open(os.environ['LOG'], 'a')); time.sleep(0.5); sys.exit(75)\n"
        "for one in (signal.SIGTERM, signal.SIGUSR1): signal.signal(one, end)\n"
        "print('waiting', file=open(os.environ['LOG'], 'a'), flush=True)\n"
        "time.sleep(30)"
    )
    train = {"TRAIN": 'exec "$REAL_PYTHON" -c "$TRAINER"', "TRAINER": trainer}
    process = cluster.start("launch/vllm_server.sh", "model=llama3", **served, **train)
    deadline = time.monotonic() + 30
    while "waiting" not in cluster.calls() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, sent))
    process.communicate(timeout=30)
    assert (process.returncode, cluster.calls()[-1]) == (75, f"heard {heard}")


def test_a_server_that_dies_ends_the_script_before_anything_is_trained(cluster):
    gpus = {
        "SERVER_GPUS": "4",
        "TRAIN_GPUS": "0",
        "PORT": "1",
        "SERVER": "raise SystemExit(1)",
        "REAL_PYTHON": shutil.which("python3") or "",
    }
    code, errors = cluster.run("launch/vllm_server.sh", "model=llama3", **gpus)
    assert code == 1
    assert "error: the vLLM server ended before it answered" in errors
    assert len(cluster.calls()) == 1


@pytest.mark.parametrize("missing", ["SERVER_GPUS", "TRAIN_GPUS"])
def test_a_server_without_gpus_named_is_refused(cluster, missing):
    gpus = {name: "0" for name in ("SERVER_GPUS", "TRAIN_GPUS") if name != missing}
    code, errors = cluster.run("launch/vllm_server.sh", **gpus)
    assert code != 0
    assert missing in errors


def test_skypilots_run_block_trains_a_run_that_fits_its_machine_and_nothing_that_doctor_refuses(cluster, tmp_path):
    task = yaml.safe_load((ROOT / "launch" / "sky.yaml").read_text(encoding="utf-8"))
    overrides = task["envs"]["OVERRIDES"]
    script = tmp_path / "run.sh"
    script.write_text(task["run"], encoding="utf-8")
    assert cluster.run(str(script), OVERRIDES=overrides, DOCTOR_CODE="1")[0] == 1
    assert "cada_trl.train" not in " ".join(cluster.commands())
    assert cluster.run(str(script), OVERRIDES=overrides)[0] == 0
    assert cluster.commands()[-1] == f"python -m cada_trl.train {overrides}"
    hardware = load_config(overrides.split()).hardware
    card, _, n_cards = task["resources"]["accelerators"].partition(":")
    assert hardware.accelerator == card.lower().replace("-", "_")
    assert hardware.n_processes == int(n_cards)


@pytest.mark.parametrize(
    ("words", "launcher"),
    [
        (["hardware=cpu"], "python"),
        (["hardware=gpu"], "python"),
        (["hardware=a100x4"], "accelerate launch --config_file {launch}/accelerate_zero3_4gpu.yaml"),
        (["hardware=a100x4_40gb", "peft=lora"], "accelerate launch --config_file {launch}/accelerate_zero2_4gpu.yaml"),
        (
            ["hardware=a100x16"],
            "accelerate launch --config_file {launch}/accelerate_zero3_2x8gpu.yaml --machine_rank NODE_RANK "
            "--main_process_ip MASTER_ADDR --main_process_port 29500",
        ),
    ],
)
def test_each_hardware_has_its_exact_command(words, launcher, monkeypatch):
    for name in ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    overrides = ["model=llama3", *words]
    expected = launcher.format(launch=ROOT / "launch")
    assert shlex.join(launcher_command(load_config(overrides), overrides)) == shlex.join(
        [*shlex.split(expected), "-m", "cada_trl.train", *overrides]
    )


def comments(file):
    """The comment lines that open a file, without their signs."""
    lines = file.read_text(encoding="utf-8").splitlines()
    n_lines = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [line.lstrip("# ") for line in lines[:n_lines]]


def described_run(file):
    """The configuration of the command in the file's head."""
    command = next(line for line in comments(file) if line.startswith("python -m cada_trl.train"))
    return load_config(shlex.split(command)[3:])


def accelerate_arguments(file):
    """What `accelerate launch --config_file` makes of the file."""
    arguments = launch_command_parser().parse_args(["--config_file", str(file), "train.py"])
    return _validate_launch_command(arguments)[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_launch_file_is_that_of_the_run_in_its_head_which_says_what_has_never_been_run(file):
    assert any(re.search(r"\bNever run:", line) for line in comments(file))
    arguments, hardware = accelerate_arguments(file), described_run(file).hardware
    assert (hardware.launcher, hardware.accelerate_config) == ("accelerate", f"launch/{file.name}")
    assert arguments.num_processes == hardware.n_processes  # of all machines together
    assert arguments.mixed_precision == ("bf16" if hardware.bf16 else "no")
    assert arguments.use_cpu is (hardware.device == "cpu")


def test_every_file_that_a_hardware_choice_names_exists():
    for choice in sorted(file.stem for file in (CONF_DIR / "hardware").glob("*.yaml")):
        named = load_config(["model=llama3", f"hardware={choice}"]).hardware.accelerate_config
        assert named is None or ROOT / named in FILES


def test_zero3_gathers_whole_weights_for_a_checkpoint():
    """Accelerate's name for DeepSpeed's stage3_gather_16bit_weights_on_model_save."""
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero3_4gpu.yaml")
    assert (arguments.use_deepspeed, arguments.zero_stage, arguments.zero3_save_16bit_model) == (True, 3, True)


def test_zero2_splits_no_weights():
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero2_4gpu.yaml")
    assert (arguments.use_deepspeed, arguments.zero_stage, arguments.zero3_init_flag) == (True, 2, False)


def test_the_offloading_file_keeps_the_optimiser_off_the_gpus_and_the_weights_on_them():
    arguments = accelerate_arguments(ROOT / "launch" / "accelerate_zero3_offload_4gpu.yaml")
    assert (arguments.zero_stage, arguments.zero3_save_16bit_model) == (3, True)
    assert (arguments.offload_optimizer_device, arguments.offload_param_device) == ("cpu", "none")
