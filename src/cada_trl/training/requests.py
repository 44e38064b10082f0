"""Which requests make up each optimiser step, and the two prompts of each: sampled on one, learned on the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler

from cada_trl.config import Config
from cada_trl.data.split import check_fills_a_step
from cada_trl.hazards.pack import HazardPack
from cada_trl.prompting.arms import Messages, conversation
from cada_trl.records import Request


def rollout_dataset(config: Config, harmful: Sequence[Request], benign: Sequence[Request], pack: HazardPack) -> Dataset:
    """Harmful rows first, then harmless ones, each with the prompt it is sampled on and the prompt it is learned on.

    Errors: UserError as check_fills_a_step.
    """
    check_fills_a_step(config, len(harmful), len(benign))
    requests = [*harmful, *(benign if config.algo.benign_per_step else [])]
    return Dataset.from_list([_row(config, request, pack) for request in requests])


def _row(config: Config, request: Request, pack: HazardPack) -> dict[str, Any]:
    def prompted(arm: str) -> Messages:
        return conversation(request.text, request.hazard, config.prompt.model_copy(update={"arm": arm}), pack)

    arm = config.prompt.arm if request.harmful or config.algo.benign_arm == "same" else "none"
    rollout = prompted(arm)
    learn = prompted("none") if config.algo.learn_on == "request" else rollout
    return {
        "prompt": rollout,
        "learn_prompt": learn,
        "prompt_arm": arm,
        "request_id": request.id,
        "request": request.text,
        "hazard": request.hazard,
        "harmful": request.harmful,
    }


def twin_of(harmful: Sequence[Request], benign: Sequence[Request]) -> dict[int, int]:
    """Row of a harmful request -> row of its harmless twin; the harmful rows come first."""
    place = {request.pair: len(harmful) + index for index, request in enumerate(benign) if request.pair}
    return {index: place[request.pair] for index, request in enumerate(harmful) if request.pair in place}


@dataclass(eq=False)
class RolloutSampler(Sampler[int]):
    """Row indices of a dataset that holds n_harmful rows first, then n_benign rows: a function of seed and epoch alone.

    A step takes requests_per_step distinct requests (benign_per_step of them harmless), each rollouts_per_request times
    in a row. The harmless ones are first of all the twins of its harmful ones (ours: the gradient is then about what
    tells the two apart), and the next of the epoch's order where those are too few. The rows of steps_per_rollout
    steps, which are sampled at once, are yielded n_micro times for each step, since TRL fetches them for every
    micro-step and keeps the first. Each of n_processes is handed an equal run of those rows: its part of every step.
    The last step of an epoch is filled up from the epoch's start. TRL's own sampler replays epoch 1 after a resume.
    """

    n_harmful: int
    n_benign: int
    requests_per_step: int
    benign_per_step: int
    rollouts_per_request: int
    n_micro: int
    seed: int
    twin_of: Mapping[int, int]  # row of a harmful request -> row of its harmless twin, where it has one
    steps_per_rollout: int = 1
    n_processes: int = 1
    epoch: int = 0

    def __post_init__(self) -> None:
        self.harmful_per_step = self.requests_per_step - self.benign_per_step
        kinds = (self.n_harmful, self.harmful_per_step), (self.n_benign, self.benign_per_step)
        n_steps = next(math.ceil(n / per_step) for n, per_step in kinds if per_step)
        self.steps_per_epoch = math.ceil(n_steps / self.steps_per_rollout) * self.steps_per_rollout

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        per_step = self.requests_per_step * self.rollouts_per_request
        return self.steps_per_epoch * per_step * self.n_micro * self.steps_per_rollout

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        harmful = torch.randperm(self.n_harmful, generator=generator).tolist()
        benign = (torch.randperm(self.n_benign, generator=generator) + self.n_harmful).tolist()
        for first in range(0, self.steps_per_epoch, self.steps_per_rollout):
            steps = [self._rows(step, harmful, benign) for step in range(first, first + self.steps_per_rollout)]
            share = len(steps[0]) // self.n_processes
            parts = [slice(rank * share, (rank + 1) * share) for rank in range(self.n_processes)]
            rows = [row for part in parts for step in steps for row in step[part]]
            for _ in range(self.n_micro * self.steps_per_rollout):
                yield from rows

    def _rows(self, step: int, harmful: list[int], benign: list[int]) -> list[int]:
        chosen = _window(harmful, step, self.harmful_per_step)
        twins = [self.twin_of[row] for row in chosen if row in self.twin_of][: self.benign_per_step]
        left = self.benign_per_step - len(twins)
        others = [row for row in _window(benign, step, self.benign_per_step + len(twins)) if row not in twins]
        if len(others) < left:  # SFT and DPO may keep fewer harmless targets than a step takes
            others = _window([row for row in benign if row not in twins] or benign, step, left)
        return [row for row in (*chosen, *twins, *others[:left]) for _ in range(self.rollouts_per_request)]


def first_tok_only(n_harmful: int, n_benign: int, n_short: tuple[int, int], rollouts_per_request: int) -> list[bool]:
    """Of a step's rows, in the sampler's order, those whose first token alone is sampled: n_short of its harmful and of
    its harmless requests, the last of each, which are twins."""
    kinds = zip((n_harmful, n_benign), n_short, strict=True)
    return [place >= n - short for n, short in kinds for place in range(n) for _ in range(rollouts_per_request)]


def step_sampler(
    config: Config, harmful: Sequence[Request], benign: Sequence[Request], n_micro: int = 1
) -> RolloutSampler:
    """The same steps for every method. n_micro: 1 for a trainer that takes a step's rows once."""
    algo = config.algo
    of_step = (algo.requests_per_step, algo.benign_per_step, algo.rollouts_per_request)
    of_block = (algo.steps_per_rollout, config.hardware.n_processes)
    twins = twin_of(harmful, benign)
    return RolloutSampler(len(harmful), len(benign), *of_step, n_micro, config.seed, twins, *of_block)


def _window(order: list[int], step: int, size: int) -> list[int]:
    return [order[(step * size + place) % len(order)] for place in range(size)]
