"""Made of vLLM's own classes: its LLM in the trainer's process, and its side of a weight sync without a GPU.

There vLLM reads the trainer's weights from a safetensors file in shared memory: TRL's own way is NCCL, which needs
CUDA. The trainer's side is in generation.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from vllm import LLM, SamplingParams
from vllm.distributed.weight_transfer.base import WeightTransferEngine, WeightTransferInitInfo, WeightTransferUpdateInfo
from vllm.lora.request import LoRARequest

from cada_trl.rollouts.vllm_plugin import UPDATABLE


class ColocatedLLM(LLM):
    """What TRL calls as LLM in colocate mode."""

    name = "vLLM"
    _found_tok = _asked_tok = 0
    _adapter: LoRARequest | None = None

    def __init__(self, *args: Any, whole_prompts: bool, **kwargs: Any) -> None:
        """whole_prompts: none is read in two parts, after the first of which vLLM sets the row's seed back: it can on a
        GPU alone, and ends with an error on a CPU. A step then has room for the longest prompt."""
        if whole_prompts:
            longest = max(kwargs["max_num_batched_tokens"], kwargs["max_model_len"] or 0)
            kwargs |= {"enable_chunked_prefill": False, "max_num_batched_tokens": longest}
        super().__init__(*args, **kwargs)

    def generate(self, prompts: Any, sampling_params: Any = None, **kwargs: Any) -> Any:
        """As LLM.generate; row i draws from seed + i of sampling_params (one seed for all would give all one noise)."""
        rows = []
        for row in range(len(prompts)):
            seeded = sampling_params.clone()
            seeded.seed = sampling_params.seed + row
            rows.append(seeded)
        outputs = super().generate(prompts, rows, lora_request=self._adapter, **kwargs)
        self._found_tok += sum(output.num_cached_tokens or 0 for output in outputs)
        self._asked_tok += sum(len(output.prompt_token_ids or []) for output in outputs)
        return outputs

    def load_adapter(self, folder: Path) -> None:
        """In place of the one before; folder: its name is new each time, as vLLM caches prefixes by it."""
        number = self._adapter.lora_int_id + 1 if self._adapter else 1
        self._adapter = LoRARequest(folder.name, number, str(folder))
        self.llm_engine.add_lora(self._adapter)

    def prompt_logp(self, ids: list[int]) -> list[float]:
        """Log-probability of each token but the first, in nats, at temperature 1."""
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        [output] = super().generate([{"prompt_token_ids": ids}], params, use_tqdm=False, lora_request=self._adapter)
        assert output.prompt_logprobs is not None
        pairs = zip(ids[1:], output.prompt_logprobs[1:], strict=True)
        return [at_place[token].logprob for token, at_place in pairs if at_place is not None]

    def prefix_counts(self) -> tuple[int, int]:
        """Prompt tokens so far: found in the prefix cache, and asked for."""
        return self._found_tok, self._asked_tok


@dataclass
class InitInfo(WeightTransferInitInfo):
    """Nothing to agree on."""


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):
    """path: a safetensors file with every parameter under its name in transformers."""

    path: str


class SharedMemoryEngine(WeightTransferEngine[InitInfo, UpdateInfo]):
    """Loads the file with the model's own load_weights; nothing is packed (vllm_plugin.py), so nothing is repacked."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo

    def init_transfer_engine(self, init_info: InitInfo) -> None:
        """Errors: RuntimeError where this server's weights cannot be replaced."""
        if os.environ.get(UPDATABLE) != "1":
            raise RuntimeError("start the server with `python -m cada_trl.rollouts.serve`: its weights are packed")

    def start_weight_update(self) -> None:
        """Weights are written in place."""

    def finish_weight_update(self) -> None:
        """Weights are written in place."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As the base class, without its synchronisation of an accelerator, which raises on a CPU."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Write the file's weights into the model."""
        self.model.load_weights(load_file(update_info.path).items())

    def shutdown(self) -> None:
        """Holds nothing."""
