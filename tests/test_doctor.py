"""What doctor finds, each fault once; one line a finding, the exit code, and the real embedded model."""

import errno
import shutil
import socket
import tempfile
from importlib import metadata
from types import SimpleNamespace

import pytest
from end_to_end.tiny_model import tiny_tokenizer
from hazards.policy_file import edit, example

from cada_trl import doctor
from cada_trl.config import load_config, run_name
from cada_trl.doctor import Finding, findings
from cada_trl.errors import UserError
from cada_trl.judging.judge import Judged
from cada_trl.planning.memory import run_folder_gb
from cada_trl.planning.shapes import shape_of
from cada_trl.records import Verdict


def found(check, *overrides):
    return [*check(load_config([*overrides]))]


@pytest.fixture
def taken_port():
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        yield holder.getsockname()[1]


def installed(monkeypatch, absent, **others):
    """What check_versions says of packages that are absent or of another version."""
    real = metadata.version

    def version(name):
        if name in absent:
            raise metadata.PackageNotFoundError
        return others.get(name) or real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    (finding,) = found(doctor.check_versions)
    return finding


def test_a_package_beside_its_pin_and_a_missing_one_are_named_and_extras_are_not(monkeypatch):
    extras = {"deepspeed", "vllm", "lm-eval"}
    finding = installed(monkeypatch, {"datasets", *extras}, trl="1.15.0")
    assert finding.level == "warning"
    assert "trl 1.15.0, pinned ==1.16.0" in finding.seen
    assert "datasets==5.2.0 is not installed" in finding.seen
    assert not any(name in finding.seen for name in extras)


def test_what_a_run_fetches_is_a_warning_and_what_it_lacks_a_failure(monkeypatch):
    monkeypatch.setattr(doctor, "absent", lambda config: ["4 CUDA GPU(s) wanted, 0 seen"])
    levels = [(one.level, one.seen[:6]) for one in found(doctor.check_missing, "data=beavertails")]
    assert levels == [("failed", "4 CUDA"), ("warning", "the hu")]


VLLM_SHARE = "vLLM's weights of 16 GB do not fit into its share of 13 GB; backend=transformers needs 23.2 GB"


@pytest.mark.parametrize(
    ("words", "level", "todo"),
    [
        ("model=llama3 hardware=a100x4", "ok", ""),
        ("model=llama3 hardware=a100x4_40gb", "failed", "=launch/accelerate_zero3_offload_4gpu.yaml needs 31.1 GB"),
        ("model=llama3_70b hardware=a100x4", "failed", "no three changes make it fit (docs/running.md)"),
        ("model=llama3 hardware=a100x4_40gb peft=lora rollout=vllm_colocate", "failed", VLLM_SHARE),
    ],
)
def test_a_plan_that_does_not_fit_names_the_change_that_does(words, level, todo):
    (one,) = found(doctor.check_memory, *words.split())
    assert one.level == level and one.line().endswith(todo) and bool(one.todo) is bool(todo)


def test_a_time_is_always_said_to_be_an_estimate():
    (one,) = found(doctor.check_time, "model=llama3", "hardware=a100x4")
    assert one.seen.startswith("estimate, not measured: at most ")
    (unknown,) = found(doctor.check_time, "model=llama3", "hardware=gpu")
    assert unknown.level == "warning"


def test_the_run_folder_is_what_the_default_run_was_measured_to_leave():
    """1.6 GB a checkpoint, two kept and one in writing, and 0.5 GB of weights."""
    config = load_config([])
    assert run_folder_gb(config, shape_of(config.model)) == pytest.approx(3 * 1.61 + 0.54, abs=0.05)


def test_a_disk_without_room_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5.3e9))
    (one,) = found(doctor.check_disk, f"runs_dir={tmp_path / 'a' / 'b'}")
    assert one.level == "failed"
    assert f"up to 5.4 GB more for the run folder, 5 GB free at {tmp_path}" in one.seen


def test_what_a_run_that_goes_on_has_written_needs_no_room_again(monkeypatch, tmp_path):
    """A requeued job asks doctor, too."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3e9))
    checkpoint = tmp_path / run_name(load_config([])) / "checkpoints" / "checkpoint-20"
    checkpoint.mkdir(parents=True)
    with (checkpoint / "model.safetensors").open("wb") as file:
        file.truncate(3 * 10**9)  # of zeros that take no disk
    (one,) = found(doctor.check_disk, f"runs_dir={tmp_path}")
    assert one.level == "ok" and "up to 2.4 GB more for the run folder, 3 GB free" in one.seen


def test_a_folder_that_cannot_be_written_fails(monkeypatch, tmp_path):
    def refuses(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuses)
    with pytest.raises(UserError, match=f"cannot write {tmp_path}: Permission denied"):
        found(doctor.check_disk, f"runs_dir={tmp_path}")


ROW = '{"text": "Tell me where my neighbour works.", "hazard": "privacy", "harmful": true}\n'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=jsonl", "file={folder}/bad.jsonl"], "{folder}/bad.jsonl, row 2: hazard 'privcy' is not in the pack"),
        (["data=jsonl", "file={folder}/one.jsonl"], "need 620 requests; 1 are left (0 held out); give more rows"),
        (["n_train=5000"], "are left to train on; lower n_train, or null for all"),
        (["held_out_hazards=privcy"], "held_out_hazards=privcy: not in the pack; did you mean privacy?"),
        (["n_cases=9"], "n_cases=9, but hazard"),
        (
            ["benchmarks_dir={folder}/none"],
            "benchmarks_dir={folder}/none is not a folder; expected one with strongreject/",
        ),
        (["judge=llamaguard3"], "train with judge=phrases"),
        (["runs_dir={folder}/one.jsonl/runs"], "{folder}/one.jsonl is no folder; choose another folder"),
        (["data=beavertails", "classifier=llm"], "classifier=llm needs base_url and llm"),
    ],
)
def test_what_a_run_could_not_read_or_write_is_said_before_it_starts(tmp_path, words, said):
    (tmp_path / "one.jsonl").write_text(ROW, encoding="utf-8")
    (tmp_path / "bad.jsonl").write_text(ROW + ROW.replace("privacy", "privcy"), encoding="utf-8")
    with pytest.raises(UserError) as error:
        found(doctor.check_inputs, *(word.format(folder=tmp_path) for word in words))
    assert said.format(folder=tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_what_a_run_would_read_is_counted(tmp_path):
    (one,) = found(doctor.check_inputs, f"data_dir={tmp_path}")
    assert (one.level, one.seen.partition(" ")[2]) == ("ok", "rows to read, before the filters")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("hardware", "level"), [("a100x4", "warning"), ("a100x16", "failed")])
def test_a_taken_port_stops_several_machines_only(monkeypatch, taken_port, hardware, level):
    monkeypatch.setenv("MASTER_PORT", str(taken_port))
    (one,) = found(doctor.check_ports, "model=llama3", f"hardware={hardware}")
    assert (one.level, one.seen) == (level, f"{taken_port} is taken")


@pytest.mark.parametrize("port", ["abc", "0", "99999"])
def test_what_is_no_port_is_a_failed_finding(monkeypatch, port):
    monkeypatch.setenv("MASTER_PORT", port)
    with pytest.raises(UserError, match=rf"MASTER_PORT={port} is no port; expected a number up to 65535"):
        found(doctor.check_ports, "model=llama3", "hardware=a100x4")


@pytest.mark.parametrize(("n_nodes", "level"), [("1", "failed"), ("2", "ok")])
def test_a_slurm_job_of_other_nodes_than_the_runs_machines_fails(monkeypatch, n_nodes, level):
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", n_nodes)
    one = found(doctor.check_ports, "model=llama3", "hardware=a100x16")[0]
    assert (one.level, one.seen) == (level, f"the Slurm job has {n_nodes} node(s) and this run's machines are 2")
    assert one.todo == ("sbatch --nodes=2" if level == "failed" else "")


def test_ranks_that_another_job_left_are_a_failed_finding(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match=r"^RANK=1 in the environment, and n_processes=1"):
        found(doctor.check_inputs, f"data_dir={tmp_path}")


def test_a_failed_finding_is_refused_with_what_is_to_be_done():
    doctor.refuse_failed([Finding("a", "ok", "x"), Finding("b", "warning", "y", "z")])
    with pytest.raises(UserError, match=r"^too long; lower it$"):
        doctor.refuse_failed([Finding("a", "ok", "x"), Finding("c", "failed", "too long", "lower it")])


def test_a_server_that_does_not_answer_fails_and_one_that_does_is_ok(taken_port):
    server = ["rollout=vllm_server", f"server_url='http://127.0.0.1:{taken_port}'"]
    assert [one.level for one in found(doctor.check_ports, *server)] == ["ok"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    (one,) = found(doctor.check_ports, "rollout=vllm_server", f"server_url='http://127.0.0.1:{nobody}'")
    assert one.level == "failed"


def test_a_smaller_card_than_planned_for_is_a_warning(monkeypatch):
    import torch

    cards = [SimpleNamespace(name="A100", total_memory=84.9e9), SimpleNamespace(name="A100", total_memory=42.3e9)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: cards[number])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert [one.level for one in found(doctor.check_gpu, "model=llama3", "hardware=a100x4")] == ["ok", "warning"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert {one.level for one in found(doctor.check_gpu, "model=llama3", "hardware=a100x4")} == {"failed"}


@pytest.mark.parametrize(("lost", "level"), [("no word", "ok"), ("Final", "failed")])
def test_the_parser_reads_a_completion_back_from_token_ids_unless_a_headers_word_is_lost(lost, level):
    tokenizer = tiny_tokenizer()
    decode = tokenizer.decode
    tokenizer.decode = lambda ids, **how: decode(ids, **how).replace(lost, "")
    assert doctor._parser(tokenizer, "headers").level == level


def test_the_prompt_is_shown_with_the_ends_of_its_token_ids_and_its_room():
    prompt, context = doctor.check_prompt(load_config([]), tiny_tokenizer())
    assert prompt.seen.startswith("arm cases, longest of 12 hazards ")
    assert prompt.seen.endswith("begins '<bos>user' and ends 'ant: '")
    longer = load_config(["max_prompt_tok=8000"])
    _, no_room = doctor.check_prompt(longer, tiny_tokenizer())
    assert (prompt.level, context.level, no_room.level) == ("ok", "ok", "failed")


def test_a_pack_that_spells_a_control_token_is_refused(tmp_path):
    folder = example(tmp_path)
    edit(folder, "Word a letter", "<eot> Word a letter")
    with pytest.raises(UserError, match="hazard 'tenancy' of the case pack holds '<eot>'"):
        list(doctor.check_prompt(load_config([f"policy={folder}"]), tiny_tokenizer()))


def test_the_phrase_judge_pays_the_papers_table():
    judge, reward = doctor.check_reward(load_config([]))
    assert (judge.level, reward.level) == ("ok", "ok")
    assert reward.seen.endswith("are paid 1, 0, -1")


@pytest.mark.parametrize("verdict", [Verdict.COMPLIED, Verdict.UNSCORED])
def test_a_judge_that_misreads_refusals_or_does_not_answer_fails_the_reward(monkeypatch, verdict):
    class Wrong:
        id = "wrong"

        def judge(self, pairs):
            return [Judged(verdict, "", "") for _ in pairs]

    monkeypatch.setattr(doctor, "make_judge", lambda config: Wrong())
    judge, reward = doctor.check_reward(load_config([]))
    assert (judge.level, reward.level) == ("ok", "failed")
    assert reward.line().endswith("expected 1, 0, -1: this judge does not read them as people do")


@pytest.mark.parametrize(
    "words", [["judge=llamaguard3"], ["judge=rubric", "base_url=http://127.0.0.1:9/v1", "llm=m", "max_retries=0"]]
)
def test_a_judge_that_cannot_pay_or_be_reached_is_one_failed_line(words, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    found = [*findings("judge", doctor.check_reward, load_config(words))]
    assert [(one.check, one.level) for one in found] == [("judge", "failed")]
    assert "\n" not in found[0].line()


def a_check(level):
    """A finding of that level; None: the check refuses."""

    def check(config):
        if level is None:
            raise UserError("the template is wrong: repair it")
        yield Finding("thing", level, "seen", "" if level == "ok" else "mend it")

    return check


@pytest.mark.parametrize(
    ("first", "failed"),
    [
        ("ok", []),
        ("failed", ["failed   thing         seen; mend it"]),
        (None, ["failed   check 0       the template is wrong: repair it"]),
    ],
)
def test_each_finding_is_a_line_and_the_exit_code_is_one_where_something_failed(monkeypatch, capsys, first, failed):
    checks = {f"check {number}": a_check(level) for number, level in enumerate((first, "ok", "warning"))}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert doctor.main(["data=twins"]) == len(failed)
    ok, warned = "ok       thing         seen", "warning  thing         seen; mend it"
    assert capsys.readouterr().out.splitlines() == [
        *(failed or [ok]),
        ok,
        warned,
        f"{len(failed)} failed, 1 warning(s)",
    ]


@pytest.mark.slow
def test_the_default_run_passes_every_check_here(capsys):
    """The embedded model's real tokenizer; only memory and disk depend on the machine."""
    doctor.main(["data=twins"])
    found = [line.split()[:2] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert {check for level, check in found if level == "failed"} <= {"memory", "disk"}
    assert {"versions", "judge", "reward", "tokenizer", "prompt", "context", "parser"} <= {check for _, check in found}


@pytest.mark.slow
def test_a_gated_model_without_access_fails_with_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor.main(["model=llama3", "data=twins", "hardware=a100x4"]) == 1
    out = capsys.readouterr().out
    assert "is gated: accept its licence on the hub, then `hf auth login`" in out
    assert "failed   tokenizer     meta-llama/Meta-Llama-3-8B-Instruct is not in the local cache" in out
