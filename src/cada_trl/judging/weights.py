"""A guard model's weights in this process, by transformers. They are read at the first question, not before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError, first_line
from cada_trl.judging.endpoint import Answer, Prompt, Text, Usage

BATCH = 8  # ours: a 13B guard in bfloat16 and 8 long prompts fit into 40 GB


class LocalModel:
    """Answers texts greedily in bfloat16, on the GPU where there is one. llm: a hub id or a folder; safetensors only.

    A prompt beyond the model's positions is not answered: cut off, its end would be judged unseen.
    """

    def __init__(self, llm: str) -> None:
        self.llm, self.usage = llm, Usage()
        self._tokenizer: Any = None
        self._model: Any = None

    def check_reachable(self, prompt: Prompt, max_tok: int) -> None:
        """Look for the model's files, weights unread: the tested model needs the memory first.

        Errors: UserError for a folder without config.json or safetensors, a gated or unknown model, no network.
        """
        from cada_trl.models.load import resolve_model

        source = "folder" if Path(self.llm).expanduser().is_dir() else "hub"
        # resolve_model reads no more of a model than where it is
        resolve_model(ModelConfig.model_construct(source=source, path=self.llm, revision=None))  # type: ignore[arg-type]

    def answers(self, prompts: Sequence[Prompt], max_tok: int) -> Iterator[tuple[int, Answer]]:
        """Yield (index of the prompt, answer), longest prompts first: what does not fit in memory shows at once.

        Errors: UserError when the weights cannot be read.
        """
        if not prompts:
            return
        self._load()
        from cada_trl.models.load import all_ends
        from cada_trl.models.sampling import continued, most_likely

        ids = [self._ids(prompt) for prompt in prompts]
        ends = all_ends(self._tokenizer, self._model.generation_config.eos_token_id)
        most = getattr(self._model.config, "max_position_embeddings", None) or 2**31
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        for i in order:
            if len(ids[i]) + max_tok > most:
                yield i, Answer(None, f"the prompt's {len(ids[i])} tokens do not fit into the judge's {most} positions")
        fitting = [i for i in order if len(ids[i]) + max_tok <= most]
        for start in range(0, len(fitting), BATCH):
            some = fitting[start : start + BATCH]
            for place, new in continued(self._model, [ids[i] for i in some], most_likely, ends, max_tok):
                self.usage.add(len(ids[some[place]]), len(new))
                yield some[place], Answer(self._tokenizer.decode(new, skip_special_tokens=True))

    def _ids(self, prompt: Prompt) -> list[int]:
        if not isinstance(prompt, Text):
            raise TypeError("weights in this process answer a Text; a conversation needs an endpoint")
        return list(self._tokenizer(prompt.text, add_special_tokens=prompt.add_special_tokens).input_ids)

    def _load(self) -> None:
        if self._model is not None:
            return
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        where = str(Path(self.llm).expanduser()) if Path(self.llm).expanduser().is_dir() else self.llm
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(where)
            self._model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.bfloat16, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot load the judge {self.llm}: {first_line(error)}") from error
        self._model = self._model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
