"""Generation: conversations in, greedy completions out, by transformers or vLLM from one list of token ids."""
