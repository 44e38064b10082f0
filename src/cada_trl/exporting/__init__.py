"""A finished run as a folder for others: weights, tokenizer and model card."""
