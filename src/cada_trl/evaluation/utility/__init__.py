"""Utility through lm-eval: GSM8K, BIG-Bench Hard and MMLU in the paper's settings, from local files or from the hub."""
