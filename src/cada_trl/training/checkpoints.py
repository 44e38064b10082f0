"""Weights and checkpoints made whole: what DeepSpeed's ranks have split, and which checkpoint a run goes on from."""

from __future__ import annotations

import errno
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor

from cada_trl.config import HardwareConfig
from cada_trl.errors import UserError
from cada_trl.planning.device import zero_stage
from cada_trl.storage.digest import change, digests, sha256_of
from cada_trl.storage.files import read_json, replace_json

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object

COMPLETE_FILE = "complete.json"

# Of several processes on CPUs each is a device "cpu:0", where torch.load knows only "cpu": no such run could go on.
torch.serialization.register_package(
    11, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None
)


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """A full disk while a model is saved is a UserError; safetensors and torch report it in words of their own."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        if full or "os error 28" in str(error) or "PytorchStreamWriter failed" in str(error):
            raise UserError(
                f"cannot save to {folder}: no space left; free some, and the same command goes on"
            ) from error
        raise


class Resumable(Base):
    """Mixed into a trainer of TRL, before it in the order of bases: it stops, saves and goes on at a whole step."""

    model: Any
    ref_model: Any = None  # of the methods that have one

    def reference_hash(self) -> str | None:
        """SHA-256 of the frozen reference's weights (LoRA: of the base weights); None without a reference."""
        if self.ref_model is None and not is_peft_model(self.model):
            return None
        adapted = self.ref_model is None
        frozen = self.model.get_base_model() if adapted else self.accelerator.unwrap_model(self.ref_model)
        # ZeRO-2 rounds a float32 policy to bfloat16 when training starts: that is no change of the reference.
        rounded = torch.bfloat16 if stage_of(self.accelerator) and self.args.bf16 else None

        def chunks() -> Iterator[bytes]:
            for name, parameter in sorted(frozen.named_parameters()):
                if not (adapted and parameter.requires_grad):
                    yield name.encode()
                    weight = whole(parameter).detach().to(rounded or parameter.dtype)
                    yield weight.cpu().contiguous().view(torch.uint8).numpy().tobytes()

        return sha256_of(chunks())

    def any_rank(self, here: bool) -> bool:
        """Whether it holds on some process; every process must ask."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor([int(here)], device=self.accelerator.device)
        return bool(self.accelerator.gather(flag).any())

    def stop_here(self) -> int:
        """Called while a step is recorded: a checkpoint is saved, then training ends. Returns the last step."""
        self.control.should_save = self.control.should_training_stop = True
        return self.state.global_step

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """transformers would save as often as the run that wrote the checkpoint was told to, and train a step too many
        where a run goes on from the checkpoint of its last step."""
        self.state.compute_steps(self.args, self.state.max_steps)
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint counts once it is marked complete: a run killed while saving resumes from the one before."""
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # every rank writes files of its own into it
        if self.args.should_save:
            folder = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            self._save_state(folder)
            ranks = self.accelerator.num_processes, stage_of(self.accelerator), bool(self.args.bf16)
            mark_complete(folder, self.state.global_step, *ranks)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: the export writes one. TRL's asks W&B for an offline run's address, which warns at every checkpoint."""

    def _save_state(self, checkpoint: Path) -> None:
        """For a method with a state of its own, beside what transformers saves."""


def mark_complete(
    checkpoint: Path, step: int, n_processes: int, zero_stage: int = 0, is_bf16: bool | None = None
) -> None:
    """Written last into a checkpoint, in one move: its step, who wrote it and how, and each file's size and SHA-256.

    zero_stage: how DeepSpeed splits the optimiser that was saved; 0 without DeepSpeed. is_bf16: the run's precision.
    """
    found = digests(checkpoint, ["**/*"])
    facts = {
        "step": step,
        "n_processes": n_processes,
        "zero_stage": zero_stage,
        "bf16": is_bf16,
        "bytes": {name: (checkpoint / name).stat().st_size for name in found},
        "sha256": found,
    }
    replace_json(checkpoint / COMPLETE_FILE, facts)


def newest_complete(
    checkpoints: Path, tidy: bool = True, say: Callable[[str], None] = lambda _: None
) -> tuple[Path, int] | None:
    """(folder, step) of the newest whole checkpoint, or None; others, left by a killed run, are deleted and named.

    tidy=False deletes, hashes and says nothing: one rank is enough for that. Errors: UserError where a file of the
    newest is another one than was saved: no run that dies leaves that, so that the user chooses what becomes of it.
    """
    complete = []
    for folder in sorted(checkpoints.glob("checkpoint-*")):
        mark = _mark(folder)
        if mark is not None:
            complete.append((mark["step"], folder))
        elif tidy:
            say(f"{folder} is not whole, as a run leaves it that dies while it saves: it is removed")
            shutil.rmtree(folder)
    if not complete:
        return None
    step, folder = max(complete)
    for name, saved in (_mark(folder) or {}).get("sha256", {}).items() if tidy else ():
        if change(folder / name, saved):
            raise UserError(
                f"{folder / name} is not what the run saved; delete {folder}, and the same command goes on from the "
                "checkpoint before, or begins again where there is none"
            )
    return folder, step


def check_same_hardware(checkpoint: Path, hardware: HardwareConfig) -> None:
    """Refuse another number of processes or another split: random states and shards of the optimiser belong to a rank
    each, and without its file transformers would start the optimiser anew and say nothing. And another precision,
    which bf16=auto has on another machine: the run would be of neither.

    Errors: UserError.
    """
    mark, stage = _mark(checkpoint) or {}, zero_stage(hardware)
    saved_by = mark.get("n_processes", hardware.n_processes)
    if saved_by != hardware.n_processes:
        raise UserError(
            f"{checkpoint} was saved by {saved_by} process(es) and this run has {hardware.n_processes}; set "
            f"n_processes={saved_by} (or its hardware=), or choose another run_name to start anew"
        )
    saved_stage = mark.get("zero_stage", stage)
    if saved_stage != stage:
        raise UserError(
            f"{checkpoint} was saved under ZeRO stage {saved_stage} and this run has stage {stage} (0: without "
            "DeepSpeed); go on with the launch file of before, or choose another run_name to start anew"
        )
    was = mark.get("bf16")  # null in checkpoints of before
    if was is not None and was != hardware.bf16:
        raise UserError(
            f"{checkpoint} was saved with bf16={str(was).lower()} and this run has bf16={str(hardware.bf16).lower()}; "
            f"set bf16={str(was).lower()}, or choose another run_name to start anew"
        )


def _mark(checkpoint: Path) -> dict[str, Any] | None:
    """What complete.json says, where every file that it names is there in its size."""
    try:
        mark = read_json(checkpoint / COMPLETE_FILE)
        complete = all((checkpoint / name).stat().st_size == size for name, size in mark.get("bytes", {}).items())
        return mark if complete and type(mark["step"]) is int and isinstance(mark.get("sha256", {}), dict) else None
    except (UserError, OSError, ValueError, AttributeError, LookupError):  # not there, no JSON, another form
        return None


def join_ranks(hardware: HardwareConfig) -> None:
    """Start DeepSpeed's communication between ranks on CPUs, before the trainer's arguments are made.

    accelerate starts it for GPUs only; without it DeepSpeed takes each rank for a world of its own.
    """
    if hardware.device != "cpu" or not zero_stage(hardware):
        return
    import deepspeed

    # An all-reduce for inference, which training never calls; else g++ compiles it for a minute or two at first use.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False)


def leave_ranks() -> None:
    """End what the ranks talk through: a process that ends with it open is aborted now and then, by gloo's threads."""
    vllm = sys.modules.get("vllm.distributed")
    if vllm:  # ends its own groups and these: at the process's end it would not find them any more
        vllm.cleanup_dist_env_and_memory()
    elif torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def stage_of(accelerator: Any) -> int:
    """ZeRO's stage in this process; 0 without DeepSpeed."""
    plugin = accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)


@contextmanager
def gathered(parameters: Iterable[Tensor]) -> Iterator[None]:
    """The parameters are whole inside, those that are not split as they were; every rank must enter and leave."""
    split = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not split:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(split):
        yield


def whole(parameter: Tensor) -> Tensor:
    """The parameter, or a copy of all of it where it is split; every rank must ask."""
    if not hasattr(parameter, "ds_id"):
        return parameter
    with gathered([parameter]):
        return parameter.detach().clone()
