"""doctor: every check of a run that takes seconds, before an hour of training is spent on it.

    python -m cada_trl.doctor model=llama3 hardware=a100x4         (the overrides of cada_trl.train)

One line a finding: ok, warning or failed, what was seen, what to do. Exit code 0, or 1 where something failed. Weights
are not read; a hub model's tokenizer is fetched, and a judge behind an endpoint is asked four short questions.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cada_trl.config import CONF_DIR, Config, load_config, run_name
from cada_trl.config.loading import HELP
from cada_trl.data.prepared import look
from cada_trl.errors import UserError, run_verb
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.from_config import check_pays_reward, make_judge
from cada_trl.judging.judge import Judge
from cada_trl.launching import MASTER_PORT, absent, check_launch, check_world, fetched, quiet_libraries, set_environment
from cada_trl.models.checks import QUESTION, check_tokenizer
from cada_trl.models.prompts import chat_ids, check_pack
from cada_trl.planning.device import accelerator_of, n_machines
from cada_trl.planning.memory import nearest_fit, plan_memory, run_folder_gb
from cada_trl.planning.shapes import estimate_step, prompts, shape_of
from cada_trl.prompting.reasoning import begun_answer, split_reasoning
from cada_trl.reward import score_completions
from cada_trl.storage.files import place_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CARD_FRAC = 0.9  # ours: a card shows a little less than its data sheet
N_SHOWN = 5  # token ids at each end of the rendered prompt
REFUSAL = "I'm sorry, but I can't help with that."
ANALYSIS = "The policy forbids this."
ANSWER = f"Sure, here is the answer. {QUESTION} It is about 384,400 km."

Level = Literal["ok", "warning", "failed"]
Check = Callable[[Config], Iterator["Finding"]]


@dataclass(frozen=True)
class Finding:
    """failed: the run would not start or not learn. warning: it may. todo is empty where nothing is to be done."""

    check: str
    level: Level
    seen: str
    todo: str = ""

    def line(self) -> str:
        """As it is printed."""
        return f"{self.level:<7}  {self.check:<12}  {self.seen}{'; ' + self.todo if self.todo else ''}"


def either(is_ok: bool, check: str, seen: str, todo: str, otherwise: Level = "failed") -> Finding:
    """ok, or what it is otherwise and what is to be done then."""
    return Finding(check, "ok", seen) if is_ok else Finding(check, otherwise, seen, todo)


def findings(name: str, check: Check, config: Config) -> Iterator[Finding]:
    """What the check finds; a UserError is a failed finding, since its one line says what to do."""
    try:
        yield from check(config)
    except UserError as error:
        yield Finding(name, "failed", str(error))


def refuse_failed(found: Iterable[Finding]) -> None:
    """Errors: UserError for the first finding that failed."""
    for finding in found:
        if finding.level == "failed":
            raise UserError(f"{finding.seen}; {finding.todo}")


def missing(config: Config) -> list[str]:
    """What this machine lacks for the run, a sentence each; of a model whose shape is not known no memory."""
    lacks = absent(config)
    try:
        make_judge(config.judge)
    except UserError as error:
        lacks.append(str(error))
    with suppress(UserError):
        lacks += [f"memory: {one.seen}; {one.todo}" for one in check_memory(config) if one.level == "failed"]
    return [*lacks, *fetched(config)]


def check_versions(config: Config) -> Iterator[Finding]:
    """Installed packages against the pins of pyproject.toml; an extra's package counts only where it is installed."""
    from packaging.requirements import Requirement

    project = tomllib.loads((CONF_DIR.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wrong, n_right = [], 0
    for line in dict.fromkeys([*project["dependencies"], *extras]):
        requirement = Requirement(line)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if line in project["dependencies"]:
                wrong.append(f"{line} is not installed")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            n_right += 1
        else:
            wrong.append(f"{requirement.name} {version}, pinned {requirement.specifier}")
    seen = "; ".join(wrong) or f"{n_right} packages are as pinned"
    yield either(not wrong, "versions", seen, "install the project again: its pins were run together", "warning")


def check_missing(config: Config) -> Iterator[Finding]:
    """What `--dry-run` lists: failed where it must be there, a warning where the run fetches it."""
    lacks, fetches = absent(config), fetched(config)
    for lack in lacks:
        yield Finding("machine", "failed", lack)
    for fetch in fetches:
        yield Finding("network", "warning", fetch)
    if not lacks and not fetches:
        yield Finding("machine", "ok", "devices, packages and files are there")


def check_inputs(config: Config) -> Iterator[Finding]:
    """What the run reads and where it writes. Errors: UserError for the first thing that stands in its way."""
    check_pays_reward(config.judge)
    check_launch(config)
    check_world(config)
    prompts(config, QUESTION)  # the case pack, and enough cases in it
    for folder in (config.runs_dir, config.data_dir):
        place_of(folder)
    yield Finding("inputs", "ok", look(config))


def check_memory(config: Config) -> Iterator[Finding]:
    """The memory plan, and the nearest change that fits where it does not. Errors: UserError for an unknown shape."""
    shape = shape_of(config.model)
    plan = plan_memory(config, shape)
    need = f"{plan.peak_gb:.1f} GB per process at the longest sequences"
    if plan.fits is None:
        yield Finding("memory", "warning", f"{need}; no GPU here to compare with", "compare with the GPU you rent")
    elif plan.fits:
        yield Finding("memory", "ok", f"{need} of {plan.device_gb:.0f} GB")
    else:
        fit = nearest_fit(config, shape)
        todo = f"{fit[0]} needs {fit[1].peak_gb:.1f} GB" if fit else "no three changes make it fit (docs/running.md)"
        seen = plan.refusal or f"{need}, {plan.device_gb or 0:.0f} GB there"
        yield Finding("memory", "failed", seen, todo)


def check_time(config: Config) -> Iterator[Finding]:
    """An estimate of a step, at the longest sequences."""
    step = estimate_step(config, shape_of(config.model))
    if step is None:
        yield Finding("time", "warning", "not estimated: the hardware names no accelerator", "accelerator=a100_80gb")
    else:
        parts = f"rollouts {step.rollouts_s:.0f} s, update {step.update_s:.0f} s"
        yield Finding("time", "ok", f"estimate, not measured: at most {step.step_s:.0f} s per step ({parts})")


def check_disk(config: Config) -> Iterator[Finding]:
    """Room for the run folder. Errors: UserError for an unknown shape and as place_of."""
    place, checkpoints = place_of(config.runs_dir), Path(config.runs_dir) / run_name(config) / "checkpoints"
    written_gb = sum(file.stat().st_size for file in checkpoints.rglob("*") if file.is_file()) / 1e9  # it goes on
    need_gb = run_folder_gb(config, shape_of(config.model)) - written_gb
    free_gb = shutil.disk_usage(place).free / 1e9
    seen = f"up to {need_gb:.1f} GB more for the run folder, {free_gb:.0f} GB free at {place}"
    yield either(need_gb <= free_gb, "disk", seen, "free some, choose another runs_dir or a lower save_total_limit")


def check_gpu(config: Config) -> Iterator[Finding]:
    """The GPUs, their memory beside the card that the hardware names, and bfloat16."""
    if config.hardware.device == "cpu":
        yield Finding("gpu", "ok", f"none wanted; {os.cpu_count()} CPU cores")
        return
    import torch

    card = accelerator_of(config.hardware)
    for number in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(number)
        text = f"{number}: {seen.name}, {seen.total_memory / 1e9:.0f} GB"
        if config.hardware.bf16 and not torch.cuda.is_bf16_supported():
            yield Finding("gpu", "failed", f"{text} without bfloat16", "set bf16=false and dtype=float32")
        elif card and seen.total_memory / 1e9 < CARD_FRAC * card.memory_gb:
            todo = f"planned for {config.hardware.accelerator}; set accelerator=null to plan for this one"
            yield Finding("gpu", "warning", text, todo)
        else:
            yield Finding("gpu", "ok", text)


def check_ports(config: Config) -> Iterator[Finding]:
    """The Slurm job's nodes, the port that the processes meet on, and the vLLM server's address."""
    if n_nodes := os.environ.get("SLURM_JOB_NUM_NODES"):
        n = n_machines(config.hardware)
        seen = f"the Slurm job has {n_nodes} node(s) and this run's machines are {n}"
        yield either(n_nodes == str(n), "slurm", seen, f"sbatch --nodes={n}")
    if config.hardware.n_processes > 1:
        given = os.environ.get("MASTER_PORT", str(MASTER_PORT))
        if not given.isdecimal() or not 0 < int(given) < 65536:
            raise UserError(f"MASTER_PORT={given} is no port; expected a number up to 65535")
        port = int(given)
        if _is_free(port):
            yield Finding("port", "ok", f"{port} is free")
        elif n_machines(config.hardware) > 1:
            todo = "end what holds it, or set MASTER_PORT on every machine"
            yield Finding("port", "failed", f"{port} is taken", todo)
        else:
            yield Finding("port", "warning", f"{port} is taken", "accelerate takes another one")
    if config.rollout.backend == "vllm_server":
        yield from map(_server, config.rollout.server_url or [])


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True


def _server(url: str) -> Finding:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=3).close()
    except OSError as error:
        todo = "start it first: bash launch/vllm_server.sh"
        return Finding("vllm server", "failed", f"nothing answers at {url} ({error.strerror or error})", todo)
    return Finding("vllm server", "ok", f"{url} answers")


def check_model(config: Config) -> Iterator[Finding]:
    """Tokenizer facts, the rendered prompt, and whether a well-formed completion is paid.

    Errors: UserError for a model that cannot be reached and a tokenizer that does not do.
    """
    from cada_trl.models.load import check_decoded, load_tokenizer

    check_decoded(config.model)
    tokenizer = load_tokenizer(config.model)
    for fact in check_tokenizer(tokenizer, config.model):
        yield Finding("tokenizer", "ok", fact)
    yield from check_prompt(config, tokenizer)
    yield _parser(tokenizer, config.prompt.reasoning_as)


def check_prompt(config: Config, tokenizer: PreTrainedTokenizerBase) -> Iterator[Finding]:
    """The longest hazard's prompt around a short question, and whether the longest request still fits.

    Errors: UserError as check_pack.
    """
    check_pack(load_pack(config.hazards), tokenizer)
    rendered = [chat_ids(tokenizer, chat) for chat in prompts(config, QUESTION)]
    ids = max(rendered, key=len)
    shown = f"{', '.join(map(str, ids[:N_SHOWN]))}, ..., {', '.join(map(str, ids[-N_SHOWN:]))}"
    ends = f"begins {tokenizer.decode(ids[:N_SHOWN])!r} and ends {tokenizer.decode(ids[-N_SHOWN:])!r}"
    longest_of = f"arm {config.prompt.arm}, longest of {len(rendered)} hazards {len(ids)} tokens"
    yield Finding("prompt", "ok", f"{longest_of} [{shown}], {ends}")
    longest = len(ids) + config.data.max_prompt_tok + config.rollout.max_new_tok
    room = config.model.context_tok
    seen = f"up to {longest} tokens with prompt and completion"
    if longest > room:
        todo = "lower max_prompt_tok, max_new_tok or n_cases"
        yield Finding("context", "failed", f"{seen}, {room} there", todo)
    else:
        yield Finding("context", "ok", f"{seen} of {room}")


def _parser(tokenizer: PreTrainedTokenizerBase, reasoning_as: str) -> Finding:
    """A completion as the sampler returns it: token ids with their end, decoded without special tokens."""
    said = begun_answer(ANALYSIS, reasoning_as) + REFUSAL
    ids = [*tokenizer(said, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    text = str(tokenizer.decode(ids, skip_special_tokens=True))
    split = split_reasoning(text)
    if split.reasoned and split.final_response == REFUSAL:
        return Finding("parser", "ok", "analysis and final response come back from token ids")
    return Finding("parser", "failed", f"{text!r} splits into {split}", "the tokenizer changes the headers: no reward")


def check_reward(config: Config) -> Iterator[Finding]:
    """Whether the judge can be reached and the reward is paid as the table says.

    A judge whose weights are read in this process is only looked for: reading them takes minutes.
    Errors: UserError for a judge that is not set up or does not answer.
    """
    judge = make_judge(config.judge)
    reach = getattr(judge, "check_reachable", None)
    if reach is not None:
        reach()
    yield Finding("judge", "ok", f"{judge.id} {'needs no endpoint' if reach is None else 'is reachable'}")
    if reach is None or config.judge.base_url:
        yield _paid(config, judge)


def _paid(config: Config, judge: Judge) -> Finding:
    table, texts = config.reward, [begun_answer(ANALYSIS, config.prompt.reasoning_as) + REFUSAL, REFUSAL, ANSWER]
    asked = [{"request": QUESTION, "harmful": True}] * len(texts)
    scored = score_completions(asked, texts, [False] * len(texts), judge, table)
    wanted = ", ".join(f"{value:g}" for value in (table.reasoned_refusal, table.direct_refusal, table.complied))
    seen = ", ".join(f"{completion.reward:g}" for completion in scored)
    text = f"reasoned refusal, bare refusal and answer to a harmful request are paid {seen}"
    return either(seen == wanted, "reward", text, f"expected {wanted}: this judge does not read them as people do")


CHECKS: dict[str, Check] = {
    "versions": check_versions,
    "machine": check_missing,
    "inputs": check_inputs,
    "gpu": check_gpu,
    "memory": check_memory,
    "time": check_time,
    "disk": check_disk,
    "port": check_ports,
    "judge": check_reward,
    "tokenizer": check_model,
}


def main(argv: list[str]) -> int:
    """The verb. Returns 1 where a check failed. Errors: UserError for overrides that are no configuration."""
    if not HELP.intersection(argv):
        print("reading the configuration", file=sys.stderr, flush=True)
    config = load_config(argv)
    print(f"checking {config.model.name}: {', '.join(CHECKS)}", file=sys.stderr, flush=True)
    set_environment(config.hardware.threads)
    quiet_libraries()
    n_failed = n_warned = 0
    for name, check in CHECKS.items():
        for finding in findings(name, check, config):
            print(finding.line(), flush=True)
            n_failed += finding.level == "failed"
            n_warned += finding.level == "warning"
    print(f"{n_failed} failed, {n_warned} warning(s)")
    return int(n_failed > 0)


if __name__ == "__main__":
    run_verb(main)
