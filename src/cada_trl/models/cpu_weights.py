"""Weights that are made quick for sampling on a CPU: put into oneDNN's order, and in autocast's dtype throughout."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

N_ROWS = 16  # oneDNN's hint; weights ordered for 8 and for 32 rows were equally quick at 1 to 64, for 1 row slower


@contextmanager
def packed_linear(model: PreTrainedModel) -> Iterator[None]:
    """Inside the context the model's linear layers multiply by copies of today's weights, without a gradient, that
    oneDNN has put into its own order once; in autocast's dtype where it is on. Nothing changes off an x86 CPU.

    For one token of 8 rows of SmolLM2-135M torch's own products took 73 ms and those with ordered weights 41 (one
    thread of an AMD EPYC, float32; bfloat16: 41 and 24). Ordering takes 0.3 s, and a copy's memory.
    """
    changed = [module for module in model.modules() if type(module) is torch.nn.Linear and _takes(module.weight)]
    before = [vars(module).get("forward") for module in changed]  # the scorer sets one on the head
    try:
        for module in changed:
            vars(module)["forward"] = _product(module)
        yield
    finally:
        for module, forward in zip(changed, before, strict=True):
            vars(module).pop("forward", None)
            if forward is not None:
                vars(module)["forward"] = forward


@contextmanager
def in_autocast_dtype(model: PreTrainedModel) -> Iterator[None]:
    """Inside the context, where autocast is on, packed_linear's model has its other weights in autocast's dtype too.
    Activations then stay in it; otherwise each sum and norm of a layer casts them to float32 and the next product back.
    Nothing is learned from inside: the weights are rounded, and are back as they were afterwards. On a CPU only.
    """
    changed = []
    if model.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        packed = {id(module.weight) for module in model.modules() if type(module) is torch.nn.Linear}
        packed.discard(id(model.get_input_embeddings().weight))  # a tied head is packed, and its table is looked up
        changed = [weight for weight in model.parameters() if id(weight) not in packed]
    before = [parameter.data for parameter in changed]
    try:
        for parameter in changed:
            parameter.data = parameter.data.to(torch.get_autocast_dtype("cpu"))
        yield
    finally:
        for parameter, data in zip(changed, before, strict=True):
            parameter.data = data


def _takes(weight: Tensor) -> bool:
    measured = platform.machine() in ("x86_64", "AMD64") and torch.backends.mkldnn.is_available()
    return measured and weight.device.type == "cpu" and _dtype(weight) in (torch.float32, torch.bfloat16)


def _dtype(weight: Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype


def _product(module: torch.nn.Linear) -> Callable[[Tensor], Tensor]:
    dtype = _dtype(module.weight)
    ops = torch.ops.mkldnn  # what torch.compile calls in a frozen model's linear layers
    weight = ops._reorder_linear_weight(module.weight.detach().to(dtype), N_ROWS)
    bias = None if module.bias is None else module.bias.detach().to(dtype)

    def forward(hidden: Tensor) -> Tensor:
        product: Tensor = ops._linear_pointwise(hidden.to(dtype), weight, bias, "none", [], "")
        return product

    return forward
