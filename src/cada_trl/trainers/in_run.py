"""What a run asks of any trainer: its policy, a model ready to sample, the reference's hash, whole checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model
from transformers import PreTrainedModel
from trl.models import unwrap_model_for_generation

from cada_trl.models.decoding import decoding_attention
from cada_trl.models.packed_linear import packed_linear
from cada_trl.storage.digest import sha256_of
from cada_trl.trainers.resume import mark_complete
from cada_trl.trainers.sharding import stage_of, whole

if TYPE_CHECKING:
    from transformers import Trainer as Base
else:
    Base = object

# Of several processes on CPUs each is a device "cpu:0", where torch.load knows only "cpu": no such run could go on.
torch.serialization.register_package(
    11, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None
)


class InRun(Base):
    """Mixed into a trainer of TRL, before it in the order of bases."""

    model: Any
    ref_model: Any = None  # of the methods that have one

    @property
    def policy(self) -> PreTrainedModel:
        """The model in training, without wrappers."""
        policy: PreTrainedModel = self.accelerator.unwrap_model(self.model)
        return policy

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

    @contextlib.contextmanager
    def sampling_model(self) -> Iterator[PreTrainedModel]:
        """The policy made ready to generate: unwrapped, on its device, whole, decoding attention on, weights packed.

        A rank's number of forward calls is its own: the weights are gathered once, and no call waits for other ranks.
        With bf16 they are cast once, too: each forward call has an autocast of its own, which would cast all of them
        for a single token.
        """
        wrapped: Any = self.model_wrapped
        if wrapped is self.model:
            self.model.to(self.args.device)  # DeepSpeed moves it when training starts
        with self._ready_to_sample(wrapped) as model:
            yield model

    @contextlib.contextmanager
    def reference_model(self) -> Iterator[PreTrainedModel]:
        """The frozen initial model made ready likewise: a model of its own, or the policy with its adapter off."""
        if self.ref_model is not None:
            with self._ready_to_sample(self.ref_model) as model:
                yield model
        else:
            with self.sampling_model() as model, self.accelerator.unwrap_model(self.model).disable_adapter():
                yield model

    @contextlib.contextmanager
    def _ready_to_sample(self, wrapped: Any) -> Iterator[PreTrainedModel]:
        with (
            torch.no_grad(),
            self.accelerator.autocast(),
            unwrap_model_for_generation(wrapped, self.accelerator) as model,
            decoding_attention(model),
            packed_linear(model),
        ):
            yield model

    def any_rank(self, here: bool) -> bool:
        """Whether it holds on some process; every process must ask."""
        if self.accelerator.num_processes == 1:
            return here
        flag = torch.tensor([int(here)], device=self.accelerator.device)
        return bool(self.accelerator.gather(flag).any())

    def stop_here(self) -> None:
        """Called while a step is recorded: a checkpoint is saved, then training ends."""
        self.control.should_save = self.control.should_training_stop = True

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """transformers would train a step too many where a run goes on from the checkpoint of its last step."""
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
            mark_complete(folder, self.state.global_step, self.accelerator.num_processes, stage_of(self.accelerator))

    def _save_state(self, checkpoint: Path) -> None:
        """For a method with a state of its own, beside what transformers saves."""
