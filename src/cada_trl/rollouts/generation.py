"""TRL's VLLMGeneration with the trainer's dtype, ends and seeds, prompts in prefix order, and each sync checked: both
programs score a few tokens. Stale weights are the classic silent failure. TRL's client of a server, with the same.

TRL builds its own VLLMGeneration and takes none as an argument: names of its modules stand for ours meanwhile.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from accelerate.utils import is_peft_model
from accelerate.utils.other import get_free_port
from safetensors.torch import save_file
from torch import Tensor
from trl.generation import vllm_generation
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer, rloo_trainer

from cada_trl.errors import UserError
from cada_trl.planning.memory import CPU_KV_CACHE_GIB
from cada_trl.rollouts.vllm_plugin import BACKEND, adapter_options

SHARED_MEMORY = Path("/dev/shm")
START = "`python -m cada_trl.rollouts.serve` and the overrides of this run"
SEEDS_A_STEP = 1 << 16  # rows of a step have seeds of their own up to this number of them
TEXT = "The same weights give each of these words the same probability, whichever program computes them."
# Mean gap a token. float32: both programs agree to 1e-5, and weights one step old differ by more than 1e-3. bfloat16:
# rounding alone was measured at 0.05 to 0.06 on SmolLM2-135M; stale weights pass it after some steps.
TOLERANCE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.1}


class CheckedGeneration(VLLMGeneration):
    """Colocated or by servers, on GPUs as on a CPU; sync and distribution are TRL's, but that of an adapter.

    folder: where a server finds the adapter.
    """

    def __init__(self, model: Any, accelerator: Any, processing_class: Any, folder: str, **kwargs: Any) -> None:
        self.folder = Path(folder).absolute()
        self.dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else model.dtype
        self.sync_gap_nats = float("nan")
        self._counted = (0, 0)
        ends = model.generation_config.eos_token_id
        ours = {"stop_token_ids": ends if isinstance(ends, list) else [ends], "ignore_eos": True}
        if kwargs["mode"] == "colocate":
            ours["detokenize"] = False
        given = kwargs.pop("generation_kwargs", None) or {}
        super().__init__(model, accelerator, processing_class, generation_kwargs=ours | given, **kwargs)
        self._probe_ids: list[int] = processing_class(TEXT, add_special_tokens=False)["input_ids"]

    def _init_vllm(self) -> None:
        from cada_trl.rollouts.in_vllm import ColocatedLLM

        cpu = self.accelerator.device.type == "cpu"
        adapter: Any = self.model.peft_config["default"] if is_peft_model(self.model) else None
        llm = partial(
            ColocatedLLM,
            dtype=str(self.dtype).removeprefix("torch."),  # vLLM's "auto" makes a float32 checkpoint bfloat16
            revision=getattr(self.model.config, "_commit_hash", None),
            enable_prefix_caching=True,
            skip_tokenizer_init=True,
            generation_config="vllm",  # vLLM's neutral defaults, not the model's own file
            whole_prompts=cpu,
            enforce_eager=cpu,  # on a CPU compiling costs more than it wins
            use_tqdm_on_load=False,
            kv_cache_memory_bytes=int(CPU_KV_CACHE_GIB * 2**30) if cpu else None,
            **(adapter_options(adapter.r) if adapter else {}),
        )
        # TRL tries the same few ports in each process: two runs that start together would take one of them.
        os.environ.setdefault("MASTER_PORT", str(get_free_port()))
        client = AdapterClient if adapter else SharedMemoryClient if cpu else ServerClient
        with patch.object(vllm_generation, "LLM", llm), patch.object(vllm_generation, "VLLMClient", client):
            super()._init_vllm()
        if self.mode == "server":
            for server in self._engines[1:]:  # TRL has met the first
                server.init_communicator(self.accelerator.device)

    @property
    def _engines(self) -> Sequence[Any]:  # ColocatedLLM or ServerClient
        """Of this process; a server's are the main process's."""
        if self.mode == "colocate":
            return [self.llm]
        return self.vllm_client.servers if self.accelerator.is_main_process else []

    def sync_weights(self) -> None:
        """TRL's sync, then each program scores the same tokens. Errors: UserError where they differ."""
        if is_peft_model(self.model):
            self._send_adapter()
        elif self.mode == "colocate":
            super().sync_weights()
        else:
            servers = self._engines
            for number in range(len(str(self.server_base_url).split())):  # each time every process gathers the weights
                if servers:
                    self.vllm_client = servers[number]
                super().sync_weights()
            if servers:
                self.vllm_client = servers[0]
        with self.accelerator.autocast():
            here = trainer_logp(self.model, self._probe_ids)
        gaps = [
            checked_gap_nats(here, engine.prompt_logp(self._probe_ids), self.dtype, engine.name)
            for engine in self._engines
        ]
        self.sync_gap_nats = max(gaps, default=float("nan"))

    def _send_adapter(self) -> None:
        """TRL would gather the whole model on every process, merge the adapter into it and send that."""
        adapter = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        with self._dist.gather_params(adapter):
            if not self._engines:
                return
            shared = None if self.mode == "colocate" else self.folder
            with tempfile.TemporaryDirectory(prefix="adapter_", dir=shared) as folder:
                self.model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
                for engine in self._engines:
                    engine.load_adapter(Path(folder))

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any = None) -> Any:
        """As VLLMGeneration.generate, seeded by torch's seed, which the trainer sets by step.

        Prompts are sent in the order of their tokens, so that those with the same cases follow one another and find
        their prefix in the cache.
        """
        self.generation_kwargs["seed"] = torch.initial_seed() * SEEDS_A_STEP % 2**62
        order = sorted(range(len(prompts)), key=prompts.__getitem__)
        place = {row: number for number, row in enumerate(order)}
        sent = super().generate([prompts[row] for row in order], images, num_generations, profiler)
        return tuple(part and [part[place[row]] for row in range(len(prompts))] for part in sent)

    def step_metrics(self) -> dict[str, float]:
        """Of this process since the last call: the last sync's gap, and the prompt tokens found in the prefix cache."""
        if not self._engines:
            return {}
        found, asked = map(sum, zip(*(engine.prefix_counts() for engine in self._engines), strict=True))
        before_found, before_asked = self._counted
        self._counted = (found, asked)
        new = asked - before_asked
        hit_frac = (found - before_found) / new if new else float("nan")
        return {"train/sync_gap_nats": self.sync_gap_nats, "train/prefix_hit_frac": hit_frac}


class ServerClient(VLLMClient):
    """On GPUs: weights go by TRL's NCCL. The first of a run's servers has those of all, and splits the prompts."""

    def __init__(self, base_url: str, group_port: int, **given: Any) -> None:
        """base_url: of one server or of several, with blanks between. Errors: UserError where one does not answer."""
        url, *others = base_url.split()
        self.name = f"the vLLM server at {url}"
        try:
            super().__init__(url, group_port=group_port, **given)
        except OSError as error:  # as those of requests are
            raise UserError(f"{self.name} does not answer; start it first: {START}") from error
        more = [type(self)(url, group_port + number, **given) for number, url in enumerate(others, 1)]
        self.servers = [self, *more]
        self.loaded = False

    def _post(self, url: str, **given: Any) -> dict[str, Any]:
        """As VLLMClient's. Errors: UserError where the server is gone, or fails again and again."""
        try:
            return super()._post(url, **given)  # type: ignore[no-any-return]
        except OSError as error:
            raise UserError(
                f"{self.name} does not answer, or fails; what it printed last says why. Start it again, then the same "
                "command goes on"
            ) from error

    def generate(  # type: ignore[override]  # TRL passes every argument by name
        self, prompts: Any, *, n: int = 1, generation_kwargs: Any = None, **kwargs: Any
    ) -> Any:
        """As VLLMClient.generate; generation_kwargs["seed"] is the first prompt's, the next has a seed n higher.

        vLLM gives the n completions of a prompt the seeds from its own on. TRL's one call would seed all prompts alike.
        """
        given = generation_kwargs or {}

        def of_prompt(row: int) -> dict[str, Any]:
            seeded = given | {"seed": given["seed"] + row * n}
            server = self.servers[row * len(self.servers) // len(prompts)]  # neighbours share a prefix
            return VLLMClient.generate(server, [prompts[row]], n=n, generation_kwargs=seeded, **kwargs)

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
            raise UserError(f"{self.name} cannot take weights without a GPU; start it with {START}")
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


class AdapterClient(ServerClient):
    """For LoRA, by vLLM's own loading of adapters: the base model stays as the server has it."""

    def init_communicator(self, device: Any = 0) -> None:
        """Errors: UserError where the server takes no adapters."""
        if not self.get_server_info()["lora_config"]:
            raise UserError(f"{self.name} takes no LoRA adapter; start it with {START}")

    def load_adapter(self, folder: Path) -> None:
        """folder: its name is the adapter's and a new one each time, as vLLM caches prefixes by it."""
        names = {"lora_name": folder.name, "lora_path": str(folder)}
        answer = self.session.post(f"{self.base_url}/v1/load_lora_adapter", json=names)
        if answer.status_code != 200:
            raise UserError(f"{self.name} cannot load the adapter in {folder}, which both must see: {answer.text}")
        if self.loaded:
            self.session.post(f"{self.base_url}/v1/unload_lora_adapter", json={"lora_name": self.model})
        self.model, self.loaded = folder.name, True


def _counter(text: str, name: str) -> int:
    """The sum of a Prometheus counter over its labels; 0 where it is not there yet."""
    return int(sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


def trainer_logp(model: Any, ids: Sequence[int]) -> list[float]:
    """Log-probability of each token but the first, in nats, at temperature 1; a forward pass without gradient, and
    without the dropout of an adapter in training."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids_t = torch.tensor(ids, device=model.device)
            logp_tv = model(input_ids=ids_t[None]).logits[0].float().log_softmax(-1)
            return logp_tv[:-1].gather(1, ids_t[1:, None])[:, 0].tolist()  # type: ignore[no-any-return]
    finally:
        model.train(was_training)


def checked_gap_nats(trainer: Sequence[float], vllm: Sequence[float], dtype: torch.dtype, name: str) -> float:
    """Mean |trainer - vLLM| a token. Errors: UserError where it is above the dtype's tolerance or not a number."""
    gap = sum(abs(here - there) for here, there in zip(trainer, vllm, strict=True)) / len(trainer)
    if not gap <= TOLERANCE_NATS[dtype]:
        raise UserError(
            f"{name} does not have the trainer's weights after a sync: log-probabilities differ by {gap:.2g} nats a "
            f"token, at most {TOLERANCE_NATS[dtype]:g} is rounding in {str(dtype).removeprefix('torch.')}; the run "
            "stops before it learns from another model's samples (docs/vllm_and_speed.md)"
        )
    return gap


@contextmanager
def checked_generation(wanted: bool, folder: str) -> Iterator[None]:
    """A trainer of TRL that is built inside takes CheckedGeneration, where it is wanted."""
    with ExitStack() as stack:
        for trainer in (grpo_trainer, rloo_trainer) if wanted else ():
            stack.enter_context(patch.object(trainer, "VLLMGeneration", partial(CheckedGeneration, folder=folder)))
        yield
