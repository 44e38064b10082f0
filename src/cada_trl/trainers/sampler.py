"""Which requests make up each optimiser step: a function of seed and epoch alone, so a resumed run sees the same."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class RolloutSampler(Sampler[int]):
    """Row indices of a dataset that holds n_harmful rows first, then n_benign rows.

    A step takes requests_per_step distinct requests (benign_per_step of them harmless), each rollouts_per_request times
    in a row. Every step is yielded n_micro times, since TRL fetches one batch a micro-step and keeps the first. The
    last step of an epoch is filled up from the epoch's start. TRL's own sampler replays epoch 1 after a resume.
    """

    def __init__(
        self,
        n_harmful: int,
        n_benign: int,
        requests_per_step: int,
        benign_per_step: int,
        rollouts_per_request: int,
        n_micro: int,
        seed: int,
    ) -> None:
        self.n_harmful, self.n_benign = n_harmful, n_benign
        self.harmful_per_step, self.benign_per_step = requests_per_step - benign_per_step, benign_per_step
        self.rollouts_per_request, self.n_micro, self.seed = rollouts_per_request, n_micro, seed
        self.steps_per_epoch = math.ceil(n_harmful / self.harmful_per_step)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        per_step = (self.harmful_per_step + self.benign_per_step) * self.rollouts_per_request
        return self.steps_per_epoch * per_step * self.n_micro

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        harmful = torch.randperm(self.n_harmful, generator=generator).tolist()
        benign = (torch.randperm(self.n_benign, generator=generator) + self.n_harmful).tolist()
        for step in range(self.steps_per_epoch):
            chosen = _window(harmful, step, self.harmful_per_step) + _window(benign, step, self.benign_per_step)
            rows = [index for index in chosen for _ in range(self.rollouts_per_request)]
            for _ in range(self.n_micro):
                yield from rows


def _window(order: list[int], step: int, size: int) -> list[int]:
    return [order[(step * size + place) % len(order)] for place in range(size)]
