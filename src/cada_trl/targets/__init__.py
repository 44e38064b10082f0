"""Targets that SFT and DPO learn to say: sampled by the model itself, sorted by what is kept, or one fixed refusal."""
