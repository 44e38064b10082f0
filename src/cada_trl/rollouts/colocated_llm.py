"""vLLM's LLM inside the trainer's process, with a seed a row, a prompt's log-probabilities and the cache's counts."""

from __future__ import annotations

from typing import Any

from vllm import LLM, SamplingParams


class ColocatedLLM(LLM):
    """What TRL calls as LLM in colocate mode."""

    _found_tok = _asked_tok = 0

    def generate(self, prompts: Any, sampling_params: Any = None, **kwargs: Any) -> Any:
        """As LLM.generate; row i draws from seed + i of sampling_params (one seed for all would give all one noise)."""
        rows = []
        for row in range(len(prompts)):
            own = sampling_params.clone()
            own.seed = sampling_params.seed + row
            rows.append(own)
        outputs = super().generate(prompts, rows, **kwargs)
        self._found_tok += sum(output.num_cached_tokens or 0 for output in outputs)
        self._asked_tok += sum(len(output.prompt_token_ids or []) for output in outputs)
        return outputs

    def prompt_logp(self, ids: list[int]) -> list[float]:
        """Log-probability of each token but the first, in nats, at temperature 1."""
        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        [output] = super().generate([{"prompt_token_ids": ids}], params, use_tqdm=False)
        assert output.prompt_logprobs is not None
        pairs = zip(ids[1:], output.prompt_logprobs[1:], strict=True)
        return [at_place[token].logprob for token, at_place in pairs if at_place is not None]

    def prefix_counts(self) -> tuple[int, int]:
        """Prompt tokens so far: found in the prefix cache, and asked for."""
        return self._found_tok, self._asked_tok
