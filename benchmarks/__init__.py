"""Benchmarks: what a step, a rollout and a response cost here, beside stock TRL or between backends (docs/speed.md)."""
