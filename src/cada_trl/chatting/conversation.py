"""A conversation with a model: each answer sampled as in training and written while it comes."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from transformers import TextStreamer

from cada_trl.chatting.shown import Shown
from cada_trl.config import ModelConfig
from cada_trl.evals.generation.prompts import prompt_ids
from cada_trl.models.continuation import continued, sampled
from cada_trl.models.decoding import decoding_attention
from cada_trl.models.load import load_policy, load_tokenizer


class Conversation:
    """rollout: the run's section of its config.yaml. What was said is kept whole, also where the analysis is hidden."""

    def __init__(self, model: ModelConfig, rollout: dict[str, Any], seed: int, analysis: bool) -> None:
        self._model, self._rollout, self._analysis = model, rollout, analysis
        self._tokenizer = load_tokenizer(model)
        self._policy = load_policy(model, self._tokenizer).eval()
        if torch.cuda.is_available():
            self._policy.to("cuda")
        torch.manual_seed(seed)
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self._messages: list[dict[str, str]] = []

    def ask(self, text: str) -> str:
        """The whole answer, written to stdout as it comes. Errors: UserError where the context has no room for it."""
        messages = [*self._messages, {"role": "user", "content": text}]
        max_new_tok = self._rollout["max_new_tok"]
        (prompt,) = prompt_ids(self._tokenizer, [messages], self._model.context_tok, max_new_tok)
        choose = sampled(self._rollout["temperature"], self._rollout["top_p"])
        shown = Shown(_to_stdout, self._analysis)
        stream = _Stream(self._tokenizer, shown)

        def heard(logits_bv: Tensor) -> Tensor:
            token_b = choose(logits_bv)
            stream.put(token_b.cpu())
            return token_b

        declared: Any = self._policy.generation_config.eos_token_id
        ends: set[int] = set(declared)  # load_policy makes it a list
        with decoding_attention(self._policy):
            ((_, ids),) = continued(self._policy, [prompt], heard, ends, max_new_tok)
        stream.end()
        shown.end(truncated=ids[-1] not in ends)
        answer = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        self._messages = [*messages, {"role": "assistant", "content": answer}]
        return answer


class _Stream(TextStreamer):
    """transformers' streamer gives whole words; they go to `shown` instead of to stdout."""

    def __init__(self, tokenizer: Any, shown: Shown) -> None:
        super().__init__(tokenizer, skip_special_tokens=True)
        self._shown = shown

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._shown.add(text)


def _to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
