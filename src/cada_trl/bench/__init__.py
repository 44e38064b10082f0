"""Benchmarks: what a step costs, measured against stock TRL on the same rollouts."""
