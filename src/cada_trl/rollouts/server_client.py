"""TRL's client of a vLLM server, with a seed per prompt, a prompt's log-probabilities and the prefix cache's counts."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from trl.generation.vllm_client import VLLMClient

from cada_trl.errors import UserError
from cada_trl.rollouts.vllm_plugin import BACKEND

SHARED_MEMORY = Path("/dev/shm")


class ServerClient(VLLMClient):
    """On GPUs: weights go by TRL's NCCL."""

    def generate(  # type: ignore[override]  # TRL passes every argument by name
        self, prompts: Any, *, n: int = 1, generation_kwargs: Any = None, **kwargs: Any
    ) -> Any:
        """As VLLMClient.generate; generation_kwargs["seed"] is the first prompt's, the next has a seed n higher.

        vLLM gives the n completions of a prompt the seeds from its own on. TRL's one call would seed all prompts alike.
        """
        given = generation_kwargs or {}

        def of_prompt(row: int) -> dict[str, Any]:
            seeded = given | {"seed": given["seed"] + row * n}
            return VLLMClient.generate(self, [prompts[row]], n=n, generation_kwargs=seeded, **kwargs)

        with ThreadPoolExecutor(max_workers=len(prompts)) as executor:
            answers = list(executor.map(of_prompt, range(len(prompts))))
        return {key: [row for answer in answers for row in answer[key]] for key in answers[0]}

    def prompt_logp(self, ids: list[int]) -> list[float]:
        """Log-probability of each token but the first, in nats, at temperature 1."""
        scored = self.get_sequence_logprobs([ids], prompt_lengths=[1], top_logprobs=1)
        return [value for (value,) in scored["actual_logprobs"][0]]

    def prefix_counts(self) -> tuple[int, int]:
        """Prompt tokens so far: found in the prefix cache, and asked for."""
        text = self.session.get(f"{self.base_url}/metrics").text
        found, asked = (_counter(text, f"vllm:prefix_cache_{name}_total") for name in ("hits", "queries"))
        return found, asked


class SharedMemoryClient(ServerClient):
    """Without a GPU: weights go through a file in shared memory, to a server on the same machine."""

    def init_communicator(self, device: Any = 0) -> None:
        """Errors: UserError where the server was started without the engine of in_vllm.py."""
        transfer = self.get_server_info()["weight_transfer_config"]
        if (transfer or {}).get("backend") != BACKEND:
            raise UserError(
                f"the vLLM server at {self.base_url} cannot take weights without a GPU; start it with "
                "`python -m cada_trl.rollouts.serve` and the overrides of this run"
            )
        self._post(f"{self.base_url}/init_weight_transfer_engine", json={"init_info": {}})

    def update_named_params(self, metadata: Any, named_params: Iterator[tuple[str, Tensor]]) -> None:
        """Write all parameters to a file and have the server read it."""
        # Copies: a gathered or merged parameter is another tensor once the iterator has gone on.
        weights = {name: weight.detach().clone().contiguous() for name, weight in named_params}
        n_bytes = sum(weight.nbytes for weight in weights.values())
        fits = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > 1.1 * n_bytes
        with tempfile.TemporaryDirectory(prefix="cada_trl_", dir=SHARED_MEMORY if fits else None) as folder:
            path = Path(folder) / "weights.safetensors"
            save_file(weights, path)
            self._start_weight_update()
            self._post(f"{self.base_url}/update_weights", json={"update_info": {"path": str(path)}})
            self._finish_weight_update()


def _counter(text: str, name: str) -> int:
    """The sum of a Prometheus counter over its labels; 0 where it is not there yet."""
    return int(sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))
