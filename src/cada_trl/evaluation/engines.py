"""Greedy continuation of token ids, by transformers or by vLLM on a GPU or a CPU: what a generator is made of."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError, first_line
from cada_trl.evaluation.settings import GenerationConfig
from cada_trl.models.cpu_decoding import decoding_attention
from cada_trl.models.folder import check_finite
from cada_trl.models.load import load_policy, resolve_model
from cada_trl.models.sampling import continued, most_likely
from cada_trl.planning.memory import CPU_KV_CACHE_GIB
from cada_trl.rollouts.vllm_plugin import set_environment

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def make_engine(
    model: ModelConfig, settings: GenerationConfig, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]
) -> Engine:
    """The model behind the settings' backend."""
    if settings.backend == "vllm":
        return VllmEngine(model, settings, ends)
    return TransformersEngine(model, settings, tokenizer, ends)


class TransformersEngine:
    """On one GPU, or on the CPU where there is none: batches of like length, shrinking as rows end.

    The weights are read at the first call of complete.
    """

    def __init__(
        self, model: ModelConfig, settings: GenerationConfig, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]
    ) -> None:
        self._config, self._settings, self._tokenizer, self._ends = model, settings, tokenizer, ends

    def complete(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """(index of the prompt, new token ids up to and with the first end token), in the order they finish.

        Errors: UserError when a batch does not fit into the GPU's memory.
        """
        model, settings = self._model, self._settings
        with decoding_attention(model):
            for rows in batches([len(ids) for ids in prompts], settings.max_new_tok, settings.batch_tok):
                try:
                    chosen = [prompts[row] for row in rows]
                    answers = continued(model, chosen, most_likely, self._ends, settings.max_new_tok)
                    yield from ((rows[place], ids) for place, ids in answers)
                except torch.OutOfMemoryError as error:
                    raise UserError(
                        f"no GPU memory for {len(rows)} sequences at once; lower batch_tok={settings.batch_tok}"
                    ) from error

    def close(self) -> None:
        """Let go of the model."""
        vars(self).pop("_model", None)

    @cached_property
    def _model(self) -> PreTrainedModel:
        if self._settings.threads:
            torch.set_num_threads(self._settings.threads)
        model: Any = load_policy(self._config, self._tokenizer).eval()
        return model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[no-any-return]


def batches(lengths: Sequence[int], max_new_tok: int, batch_tok: int) -> list[list[int]]:
    """Rows of each batch, longest prompts first, so that what does not fit into the memory shows at once.

    A batch of n rows holds at most n x (its longest prompt + max_new_tok) <= batch_tok tokens, or one row.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    cut: list[list[int]] = []
    while order:
        size = max(1, batch_tok // (lengths[order[0]] + max_new_tok))
        cut.append(order[:size])
        order = order[size:]
    return cut


class VllmEngine:
    """Steps vLLM itself, so that each answer is handed out when it ends, not with the last of its call.

    The tokenizer stays outside: vLLM gets ids and the ends, ignores the model's own generation file, and gives ids. It
    is started at the first call of complete.
    """

    def __init__(self, model: ModelConfig, settings: GenerationConfig, ends: frozenset[int]) -> None:
        self._model, self._settings, self._ends = model, settings, ends

    def complete(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """As TransformersEngine.complete. A caller that stops early leaves no request behind."""
        engine = self._llm.llm_engine
        from vllm import SamplingParams

        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=self._settings.max_new_tok,
            stop_token_ids=sorted(self._ends),
            ignore_eos=True,  # the ends are those above, for both backends
            detokenize=False,
        )
        numbers: dict[str, int] = {}
        try:
            for index, ids in enumerate(prompts):
                engine.add_request(str(index), {"prompt_token_ids": ids}, sampling)
                numbers[str(index)] = index
            while numbers:
                for output in engine.step():
                    if output.finished:
                        yield numbers.pop(output.request_id), list(output.outputs[0].token_ids)
        finally:
            if numbers:
                engine.abort_request(list(numbers))

    def close(self) -> None:
        """Stop vLLM's processes and free its memory."""
        if "_llm" in vars(self):
            vars(self).pop("_llm").llm_engine.engine_core.shutdown()

    @cached_property
    def _llm(self) -> Any:
        model, cuda, threads = self._model, torch.cuda.is_available(), self._settings.threads
        set_environment(cpu=not cuda, in_training=False)
        if threads and not cuda:
            os.environ["OMP_NUM_THREADS"] = str(threads)  # its threads would spin
            torch.set_num_threads(threads)
        where = resolve_model(model)
        if model.source == "folder":
            check_finite(model.path, Path(where))
        from vllm import LLM

        try:
            return LLM(
                model=where,
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
                f"vLLM cannot start {model.path}: {first_line(error)}; backend=transformers does without it"
            ) from error


Engine = TransformersEngine | VllmEngine
