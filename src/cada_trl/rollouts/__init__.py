"""Rollouts by vLLM through TRL: what a CPU and a check of the weights need beyond TRL's own."""
