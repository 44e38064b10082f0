"""The maths of CADA as pure functions over tensors; imports nothing but torch.

Axes: b rollouts, t completion tokens, n tokens of all completions in one row, v vocabulary, h hidden units.
"""
