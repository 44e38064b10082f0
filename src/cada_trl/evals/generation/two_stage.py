"""Two-stage answering: the model first writes a reasoning chain as JSON, then is asked for its answer (Deepthought-8B).

Form: ChatML in which a turn `reasoning` comes before `assistant`, its first step begun by the prompt. Source: the
model's inference script as the paper's lab keeps it, github.com/jincan333/LLaMA-Factory at ca11a312,
safe_reason/deepthought_reference.py; the lab's own evaluation in safe_reason/deepthought.py there is the same form,
greedy in both stages. The tokenizer's chat template is not read: training uses that one, as the lab's does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.evals.generation.generator import Completion, Engine, GenerationSettings
from cada_trl.evals.generation.progress import shown
from cada_trl.prompting.arms import Messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SYSTEM = (
    "You are a superintelligent AI system, capable of comprehensive reasoning. When provided with <reasoning>, you "
    "must provide your logical reasoning chain to solve the user query. Be verbose with your outputs."
)
TURN_END = "<|im_end|>"
FIRST_STEP = '<reasoning>\n[\n  {\n    "step": 1,\n    "type": "problem_understanding",\n    "thought": "'
# Ours: so many are answered whole before the next are reasoned about; a killed call loses the reasoning of no more.
AT_ONCE = 256


def reasoning_prompt(messages: Messages) -> str:
    """The first stage's prompt: ends inside the first step of the chain, which the model goes on with."""
    turns = [{"role": "system", "content": SYSTEM}, *messages]
    written = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}{TURN_END}\n" for turn in turns)
    return f"{written}<|im_start|>reasoning\n{FIRST_STEP}"


def answer_prompt(before: str, reasoning: str) -> str:
    """The second stage's prompt. before: the first stage's, or "" where the answer is written from the chain alone."""
    return f"{before}{reasoning}{TURN_END}\n<|im_start|>assistant\n"


class TwoStageGenerator:
    """A Generator whose completion is the second stage's answer; n_tok and truncated are of both stages.

    chat=two_stage shows the second stage all that came before. chat=two_stage_reasoning_only shows it what the model
    wrote in the first stage and nothing else, as the lab's script does (vLLM returns no prompt). The chain itself is
    not kept.
    """

    def __init__(
        self,
        own_id: str,
        engine: Engine,
        tokenizer: PreTrainedTokenizerBase,
        ends: frozenset[int],
        model: ModelConfig,
        settings: GenerationSettings,
    ) -> None:
        self.id = own_id
        self._engine, self._tokenizer, self._ends = engine, tokenizer, ends
        self._keeps_request = model.chat == "two_stage"
        self._room_tok = model.context_tok - 2 * settings.max_new_tok

    def generate(self, conversations: Sequence[Messages]) -> Iterator[tuple[int, Completion]]:
        """As Generator.generate; the first stage's prompts are checked at the call."""
        prompts = [reasoning_prompt(messages) for messages in conversations]
        for number, (messages, prompt) in enumerate(zip(conversations, prompts, strict=True), start=1):
            n_tok = len(self._ids(prompt))
            if not messages or messages[-1]["role"] != "user" or n_tok > self._room_tok:
                raise UserError(
                    f"conversation {number} of {len(prompts)} has {n_tok} tokens; it must end in a user message and "
                    f"fit the {self._room_tok} tokens that context_tok leaves beside two stages: lower max_new_tok"
                )
        return shown(self._answers(prompts), len(prompts), "responses") if prompts else iter(())

    def _answers(self, prompts: Sequence[str]) -> Iterator[tuple[int, Completion]]:
        for start in range(0, len(prompts), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(prompts)))
            asked = [self._ids(prompts[row]) for row in rows]
            chains = {rows[place]: ids for place, ids in self._engine.complete(asked)}
            before = {row: prompts[row] if self._keeps_request else "" for row in rows}
            second = [self._ids(answer_prompt(before[row], self._text(chains[row]))) for row in rows]
            for place, ids in self._engine.complete(second):
                chain = chains[rows[place]]
                cut = ids[-1] not in self._ends or chain[-1] not in self._ends
                yield rows[place], Completion(self._text(ids), len(chain) + len(ids), truncated=cut)

    def close(self) -> None:
        """As Generator.close."""
        self._engine.close()

    def _ids(self, text: str) -> list[int]:
        """With the tokenizer's own BOS, as vLLM reads a text."""
        encoded: Any = self._tokenizer(text)
        ids: list[int] = encoded["input_ids"]
        return ids

    def _text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))


def turn_ends(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The id of the form's end of turn where the vocabulary has it as one token."""
    token = tokenizer.get_vocab().get(TURN_END)
    return frozenset(() if token is None else (token,))
