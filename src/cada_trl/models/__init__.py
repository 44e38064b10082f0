"""From a model's config to a tokenizer and a policy: the embedded weights, loading, and checks of the tokenizer."""
