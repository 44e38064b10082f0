"""What the open jobs will take: hours, GPU hours and judge calls, from the estimates of recipes/tables/models.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from cada_trl.tables.job import Job
from cada_trl.tables.layout import load_models
from cada_trl.tables.plan import TablePlan


@dataclass(frozen=True)
class Estimate:
    """hours of the model's machine, GPU hours, calls of a judge behind an endpoint and their price."""

    hours: float = 0.0
    gpu_hours: float = 0.0
    judge_calls: int = 0
    judge_usd: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.hours + other.hours,
            self.gpu_hours + other.gpu_hours,
            self.judge_calls + other.judge_calls,
            self.judge_usd + other.judge_usd,
        )


def estimate(job: Job, plan: TablePlan) -> Estimate:
    """A guess by the number of answers; what of it was measured is said in models.yaml."""
    model = plan.model
    if job.verb == "train":
        return Estimate(model.train_h, model.train_h * model.n_gpu.train)
    hours = job.n * (model.response_s if job.verb == "evaluate" else model.question_s) / 3600
    calls = job.n if job.verb == "evaluate" and plan.asks_endpoint else 0
    return Estimate(hours, hours * model.n_gpu.evaluate, calls, calls * load_models().judge_usd)
