"""What a person sees while a run trains: a live line in a terminal, one plain line per step everywhere else."""

from __future__ import annotations

from collections.abc import Mapping

from cada_trl.console import Console, counted_bar, duration
from cada_trl.tracking.metrics import checked

Values = Mapping[str, float | int | None]

_SAMPLED = {
    "reward": ("train/reward_mean", "{:+.2f}"),
    "KL": ("train/kl_nats", "{:.3g} nats"),
    "reasoned": ("train/reasoned_refusal_frac", "{:.0%}"),
    "direct": ("train/direct_refusal_frac", "{:.0%}"),
    "complied": ("train/comply_frac", "{:.0%}"),
    "unscored": ("train/unscored_frac", "{:.0%}"),
}


class StepProgress:
    """Step k/N, time left, reward, KL and verdict shares; use it with `with`. first_step > 0 when a run is resumed."""

    def __init__(self, n_steps: int, first_step: int = 0, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._n_steps, self._first_step, self._spent_s = n_steps, first_step, 0.0
        self._progress = counted_bar("step", self._console)
        self._task = self._progress.add_task("", total=n_steps, completed=first_step)

    def update(self, step: int, metrics: Values) -> None:
        """Show step `step` (from 1) as done. The time left is from train/step_s, in which the rollouts of several steps
        are shared out: by the clock the first of them would take as long as all."""
        self._spent_s += float(metrics["train/step_s"] or 0.0)
        left_s = self._spent_s / max(step - self._first_step, 1) * (self._n_steps - step)
        self._show(step, f"ETA {duration(left_s)}  {step_text(metrics)}")

    def _show(self, step: int, text: str) -> None:
        if self._console.is_terminal:
            self._progress.update(self._task, completed=step, description=text)
        else:
            self._console.print(f"step {step}/{self._n_steps}  {text}", highlight=False, soft_wrap=True)

    def __enter__(self) -> StepProgress:
        is_over = self._first_step >= self._n_steps
        self._show(self._first_step, "no step is left" if is_over else "the next step is under way")
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if self._console.is_terminal:
            self._progress.stop()


def step_text(metrics: Values) -> str:
    """Reward, KL and verdict shares in words, or the loss of a method that samples nothing; n/a is never 0."""
    values = checked(metrics)
    shown = _SAMPLED if "train/reward_mean" in values else {"loss": ("train/loss", "{:.3g}")}
    told = ((word, values.get(name), form) for word, (name, form) in shown.items())
    return "  ".join(f"{word} {'n/a' if value is None else form.format(value)}" for word, value, form in told)
