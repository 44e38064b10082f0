"""Benchmarks: what a step, a rollout and a response cost here, beside stock TRL or between backends.

docs/vllm_and_speed.md has what they measured.
"""
