"""The model under test: which one it is, and its answers. It is loaded when it is first asked. No torch before that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any

from cada_trl.evaluation.generation.generator import Completion, Generator, generator_id, make_generator
from cada_trl.evaluation.items import Attempt
from cada_trl.evaluation.settings import AsksAModel
from cada_trl.hazards.pack import HazardPack, pack_hash
from cada_trl.launching import quiet_libraries, set_environment
from cada_trl.models.identity import model_identity
from cada_trl.prompting.arms import Messages, conversation


class ModelUnderTest:
    """Use it with `with`, which lets go of the weights. Errors: UserError as make_generator and Generator.generate."""

    def __init__(self, config: AsksAModel, pack: HazardPack) -> None:
        self._config, self._pack = config, pack
        self._generator: Generator | None = None

    @cached_property
    def decides(self) -> dict[str, Any]:
        """What decides its answers, wherever it lies: its files' content, its decoding, its prompt's arm."""
        model, prompt = self._config.model, self._config.prompt
        shown = prompt.model_dump() if prompt.arm != "none" else {"arm": "none"}
        return {
            "model": model_identity(model),
            "tokens": model.model_dump(include={"dtype", "context_tok", "eos", "pad"}),
            "generator": generator_id(model, self._config.generation),
            "prompt": shown | ({"hazards": pack_hash(self._pack)} if prompt.arm not in {"none", "no_cases"} else {}),
        }

    def responses(self, attempts: Sequence[Attempt]) -> Iterator[tuple[int, Completion]]:
        """(index of the attempt, completion) as they finish, under the configuration's prompt arm."""
        method = self._config.prompt
        return self.generate([conversation(each.prompt, each.item.hazard, method, self._pack) for each in attempts])

    def generate(self, conversations: Sequence[Messages]) -> Iterator[tuple[int, Completion]]:
        """As Generator.generate, for conversations as they stand."""
        if self._generator is None:
            set_environment(self._config.generation.threads)
            quiet_libraries()
            self._generator = make_generator(self._config.model, self._config.generation)
        return self._generator.generate(conversations)

    def answer(self, attempts: Sequence[Attempt]) -> list[str]:
        """Completions in the attempts' order: what an adaptive attack sees."""
        completions = dict(self.responses(attempts))
        return [completions[index].text for index in range(len(attempts))]

    def __enter__(self) -> ModelUnderTest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the weights; the next question loads them again."""
        if self._generator is not None:
            self._generator.close()
            self._generator = None
