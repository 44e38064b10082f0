"""A search by Optuna in place of a grid: lr and beta_kl against ASR and NRR at once, in a study that goes on later."""

from __future__ import annotations

import importlib.util
import json
import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cada_trl.errors import UserError
from cada_trl.evaluation.plan import sets_of
from cada_trl.jobs.folder import STUDY
from cada_trl.jobs.grid import Cell, SweepRequest, last_of_each_key, make_grid, parsed, values_of
from cada_trl.jobs.job import asking
from cada_trl.jobs.session import Session

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

_PROBED = ("probe/harmful/answered_frac", "probe/harmless/answered_frac")


@dataclass(frozen=True)
class Space:
    """dimensions: key -> its words' distribution. fixed: the other words; a seed axis among them is averaged over.
    typed: as make_grid's."""

    dimensions: dict[str, BaseDistribution]
    fixed: tuple[str, ...]
    evaluation: tuple[str, ...] | None
    typed: tuple[str, ...]

    def cells(self, params: dict[str, Any]) -> list[Cell]:
        """The cells of one trial: one per seed. Errors: UserError as make_grid."""
        words = [*self.fixed, *(f"{key}={value}" for key, value in params.items())]
        return make_grid(words, self.evaluation, tuple(self.dimensions), self.typed)

    @property
    def first(self) -> dict[str, Any]:
        """The first value of each dimension."""
        return {key: _values(distribution)[0] for key, distribution in self.dimensions.items()}


def read_space(request: SweepRequest) -> Space:
    """Intervals and axes but the seed's are dimensions; the default space stands in where no interval is given.

    An interval is `lr=tag(log, interval(1e-6, 1e-4))`, Hydra's words. Errors: UserError without Optuna, as make_grid
    for a word or a value that does not fit, and where nothing is left to search or one side is never measured.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("search=optuna needs the extra optuna: pip install 'cada_trl[optuna]'")
    if request.config.submit != "here":
        raise UserError("search=optuna decides its cells one after the other and runs here: leave launcher=slurm out")
    words = request.training
    if not any(_interval(word) for word in words):
        own = {word.partition("=")[0] for word in request.typed}  # a recipe's fixed values are what is searched around
        words = (*words, *(word for word in request.config.space if word.partition("=")[0] not in own))
    dimensions, fixed = {}, []
    for word in last_of_each_key(words):
        key = word.partition("=")[0]
        distribution = None if key == "seed" else _distribution(word)
        if distribution is None:
            fixed.append(word)
        else:
            dimensions[key] = distribution
    if not dimensions:
        raise UserError(
            "search=optuna has nothing to search: give an interval or an axis, as in lr=interval(1e-6,1e-4)"
        )
    space = Space(dimensions, tuple(fixed), request.evaluation, (*request.typed, *dimensions))
    # Every trial's words are these with other values: a wrong key or type is refused before any.
    cells = space.cells(space.first)
    for key, distribution in dimensions.items():
        for value in _values(distribution)[1:]:
            space.cells(space.first | {key: value})
    if (initial := cells[0].initial) is not None and initial.evaluation is not None:
        sides = {spec.metric for spec, _ in sets_of(asking(initial.evaluation))[0]}
        if len(sides) == 1:
            raise UserError(
                f"search=optuna weighs asr on harmful requests against nrr on harmless ones, and evaluate.benchmarks= "
                f"has {sides.pop()} alone; add a set of the other kind, or leave the evaluation out"
            )
    elif 0 in ((tracking := cells[0].config.tracking).n_probe_harmful, tracking.n_probe_harmless):
        raise UserError(
            "search=optuna without an evaluation reads the probes of both kinds; set n_probe_harmful= and "
            "n_probe_harmless= above 0, or add evaluate=quick"
        )
    return space


def run_search(session: Session, space: Space) -> None:
    """Ask, train and evaluate, tell, until the study has n_trials; a trial that was cut off is done first.

    A trial whose numbers are not known has failed in the study, and never counts as a number.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    config, file = session.request.config, session.folder.path / STUDY
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{file.resolve()}",
        study_name="sweep",
        load_if_exists=True,
        directions=["minimize", "maximize"],
    )
    searched = json.dumps([sorted(space.fixed), repr(space.dimensions), space.evaluation])
    if study.user_attrs.get("searched", searched) != searched:
        raise UserError(f"{file.parent} holds another search; give its words, or a sweep_name of your own")
    study.set_user_attr("searched", searched)
    # A resumed study draws on, not the same again.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), constant_liar=config.jobs > 1)
    if earlier := _composed(space, [trial for trial in study.trials if trial.state.is_finished()]):
        session.run([cell for of_trial in earlier.values() for cell in of_trial])
        for trial in _failed(study):  # stays so in the study: where its cells have ended well since, they are a new one
            if values := objectives(session.record, earlier.get(trial.number, ())):
                study.add_trial(create_trial(params=trial.params, distributions=trial.distributions, values=values))
    _show(session, space, study)
    while not session.is_spent:
        n_tried = len(_failed(study)) + sum(trial.state is not TrialState.FAIL for trial in study.trials)
        n_new = min(config.n_trials - n_tried, config.jobs)
        cut_off = study.get_trials(states=[TrialState.RUNNING])
        batch: Sequence[Trial | FrozenTrial] = cut_off or [study.ask(space.dimensions) for _ in range(n_new)]
        if not batch:
            return
        cells = _composed(space, batch)
        for number in {trial.number for trial in batch} - cells.keys():
            study.tell(number, state=TrialState.FAIL)
        session.run([cell for of_trial in cells.values() for cell in of_trial])
        if session.is_spent:  # a trial that was cut off stays one
            return
        left = {row["id"] for row in session.record["cells"] if row["state"] == "to do"}
        for number, of_trial in cells.items():
            if left.isdisjoint(cell.id for cell in of_trial):
                values = objectives(session.record, of_trial)
                study.tell(number, values, TrialState.COMPLETE if values else TrialState.FAIL)
        _show(session, space, study)
        if left:  # stopped from outside: the next call goes on
            return


def _composed(space: Space, trials: Sequence[Trial | FrozenTrial]) -> dict[int, list[Cell]]:
    """Trial's number -> its cells. Says of which trials the values do not fit each other; they have none."""
    cells = {}
    for trial in trials:
        try:
            cells[trial.number] = space.cells(trial.params)
        except UserError as error:
            print(f"trial {trial.number} has failed: {error}")
    return cells


def _unmeasured(record: dict[str, Any], space: Space, study: Study) -> list[int]:
    """Numbers of the failed trials whose cells ended well: a rate of theirs is not known."""
    states = {row["id"]: row["state"] for row in record.get("cells", ())}
    found = []
    for trial in _failed(study):
        with suppress(UserError):  # its values do not fit each other, which was said
            if {states.get(cell.id) for cell in space.cells(trial.params)} == {"done"}:
                found.append(trial.number)
    return found


def _failed(study: Study) -> list[FrozenTrial]:
    """Those that failed, without those that were done well since, as trials of their own."""
    known = [trial.params for trial in study.trials if trial.values]
    return [trial for trial in study.trials if trial.state.name == "FAIL" and trial.params not in known]


def objectives(record: dict[str, Any], cells: Sequence[Cell]) -> tuple[float, float] | None:
    """(ASR, NRR), fractions: means over benchmarks and attacks, then seeds; None where a cell has none.

    Without an evaluation the probes stand in: harmful requests complied with, harmless ones answered.
    """
    ids = {cell.id for cell in cells}
    pairs = [_of_cell(row["metrics"]) for row in record["cells"] if row["id"] in ids]
    known = [pair for pair in pairs if pair is not None]
    if not known or len(known) < len(ids):
        return None
    return statistics.mean(asr for asr, _ in known), statistics.mean(nrr for _, nrr in known)


def _of_cell(metrics: dict[str, Any]) -> tuple[float, float] | None:
    values = {name: measure["value"] for name, measure in metrics.items()}
    sides = [[value for name, value in values.items() if name.startswith(kind)] for kind in ("asr/", "nrr/")]
    if not any(sides):
        sides = [[values[name]] if name in values else [] for name in _PROBED]
    if any(not side or None in side for side in sides):
        return None
    return statistics.mean(sides[0]), statistics.mean(sides[1])


def _show(session: Session, space: Space, study: Study) -> None:
    """The study in sweep.json: the trials with the numbers that their cells have now, which may be others than the
    study was told, and which of them no other one beats in both."""
    told = [(trial, objectives(session.record, space.cells(trial.params))) for trial in study.trials if trial.values]
    known = [(trial, values) for trial, values in told if values]
    trials = [
        {
            "number": trial.number,
            "params": trial.params,
            "asr": asr,
            "nrr": nrr,
            "best": not any(a <= asr and n >= nrr and (a, n) != (asr, nrr) for _, (a, n) in known),
        }
        for trial, (asr, nrr) in known
    ]
    session.search = {
        "trials": trials,
        "failed": len(_failed(study)),
        "unmeasured": _unmeasured(session.record, space, study),
        "without_numbers": len(told) - len(trials),
        "storage": str(session.folder.path / STUDY),
    }
    session.write()


def _interval(word: str) -> Any:
    override = parsed(word)
    return override.value() if override is not None and override.is_interval_sweep() else None


def _distribution(word: str) -> BaseDistribution | None:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if interval := _interval(word):
        if others := interval.tags - {"log"}:
            raise UserError(f"{word}: unknown tag {min(others)}; expected log, as in tag(log,interval(1e-6,1e-4))")
        low, high, log = interval.start, interval.end, "log" in interval.tags
        kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
        try:
            return kind(low, high, log=log)
        except ValueError as error:
            raise UserError(f"{word}: {error}") from error
    values = [value.partition("=")[2] for value in values_of(word)]
    return CategoricalDistribution(values) if len(values) > 1 else None


def _values(distribution: Any) -> tuple[Any, ...]:
    """Of an interval its ends."""
    return tuple(getattr(distribution, "choices", None) or (distribution.low, distribution.high))
