"""A planted fault trips its own tripwire and no other; a healthy record trips none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cada_trl.config import TripwiresConfig, load_config
from cada_trl.hazards.pack import load_pack
from cada_trl.tripwires.watch import Tripped, Watch

PACK = load_pack("builtin")
COPY = next(iter(PACK.hazards.values())).cases[0].analysis
Row = dict[str, Any]
Plant = Callable[[int, dict[str, Any], list[Row]], None]

WIRES = [name for name, field in TripwiresConfig.model_fields.items() if field.default == "off"]


def config(**changes: Any) -> TripwiresConfig:
    """As a run has it by default."""
    return load_config([]).tripwires.model_copy(update=changes)


def row(harmful: bool, refused: bool, reasoned: bool) -> Row:
    analysis = "This request asks me to hurt somebody, which I weigh against the law and then decline." * reasoned
    return {
        "harmful": harmful,
        "status": "ok" if reasoned else "no_marker",
        "analysis": analysis,
        "verdict": "REFUSED" if refused else "COMPLIED",
        "reward": (1.0 if reasoned else 0.0) if refused else (-1.0 if harmful else 1.0),
        "completion_tok": 50,
    }


def healthy(step: int) -> tuple[dict[str, Any], list[Row]]:
    """Refusals of harmful requests grow, harmless ones are answered, one is unscored."""
    rows = [row(True, place < 4 + step, True) for place in range(16)]
    rows += [row(False, place == 0, place == 0) for place in range(8)]
    rows[3] |= {"verdict": "UNSCORED", "reward": None}
    return {"train/kl_nats": 0.0 if step == 1 else 9.0 * step, "train/sampler_gap_nats": 0.01}, rows


def probe(answered: int, refused_harmless: int = 1) -> list[Row]:
    asked = [("harmful", n, n >= answered) for n in range(40)]
    asked += [("harmless", n, n < refused_harmless) for n in range(30)]
    return [{"set": of, "request_id": str(n), **row(of == "harmful", no, no)} for of, n, no in asked]


def watched(settings: TripwiresConfig, plant: Plant | None = None, probes: tuple[int, ...] = (38, 20)) -> list[Tripped]:
    """Ten steps between two probes, a fault planted from step 4 on."""
    watch = Watch(settings, PACK)
    tripped = watch.probe(0, "before", probe(probes[0]))
    for step in range(1, 11):
        metrics, rows = healthy(step)
        if plant and step >= 4:
            plant(step, metrics, rows)
        tripped += watch.step(step, metrics, rows)
    return tripped + watch.probe(10, "after", probe(probes[1]))


def _change(harmful: bool | None = None, **values: Any) -> Plant:
    def plant(step: int, metrics: dict[str, Any], rows: list[Row]) -> None:
        for one in rows:
            if harmful is None or one["harmful"] is harmful:
                one.update(values)

    return plant


def _metric(name: str, value: float) -> Plant:
    return lambda step, metrics, rows: metrics.__setitem__(name, value)


PLANTS: dict[str, Plant] = {
    "over_refusal": _change(harmful=False, verdict="REFUSED", reward=-1.0),
    "empty_analysis": _change(harmful=True, analysis="It is bad."),
    "copied_analysis": _change(harmful=True, analysis=COPY),
    "length_collapse": _change(completion_tok=8),
    "kl_jump": _metric("train/kl_nats", 400.0),
    "unscored": _change(harmful=True, verdict="UNSCORED", reward=None),
    "sampler_gap": _metric("train/sync_gap_nats", 0.5),
}


def test_a_healthy_record_trips_nothing() -> None:
    assert watched(config()) == []


@pytest.mark.parametrize("wire", PLANTS)
def test_a_planted_fault_is_warned_of_once_by_its_own_tripwire(wire: str) -> None:
    (tripped,) = watched(config(), PLANTS[wire])
    assert (tripped.wire, tripped.action, tripped.name) == (wire, "warn", "train")
    assert 4 <= tripped.step <= 9


@pytest.mark.parametrize("wire", PLANTS)
def test_a_stop_is_repeated_for_as_long_as_it_trips_and_an_off_says_nothing(wire: str) -> None:
    stops = watched(config(**{wire: "stop"}), PLANTS[wire])
    assert len(stops) > 1 and {one.action for one in stops} == {"stop"}
    assert watched(config(**{wire: "off"}), PLANTS[wire]) == []


def test_refusals_of_the_harmless_probe_trip_at_the_probe() -> None:
    watch = Watch(config(), PACK)
    assert watch.probe(0, "before", probe(38)) == []
    (tripped,) = watch.probe(5, "step_000005", probe(20, refused_harmless=20))
    assert (tripped.wire, tripped.name) == ("over_refusal", "step_000005")
    assert "20 of 30" in tripped.seen


def test_a_reward_that_rises_while_the_probe_stays_trips_at_the_probe() -> None:
    (tripped,) = watched(config(), probes=(38, 38))
    assert (tripped.wire, tripped.name, tripped.step) == ("reward_without_safety", "after", 10)


def test_a_tripwire_that_recovered_warns_again() -> None:
    watch, jumps = Watch(config(), PACK), []
    for step, gap in enumerate([0.01, 0.5, 0.5, 0.01, 0.5], start=1):
        jumps += watch.step(step, {"train/sampler_gap_nats": gap}, [])
    assert [one.step for one in jumps] == [2, 5]


def test_a_method_without_completions_or_kl_trips_nothing() -> None:
    watch = Watch(config(**dict.fromkeys(WIRES, "stop")), PACK)
    assert [watch.step(step, {"train/loss": 1.0, "train/kl_nats": float("nan")}, []) for step in (1, 2)] == [[], []]


def _anchors(step: int, metrics: dict[str, Any], rows: list[Row]) -> None:
    short = {"harmful": False, "status": "ok", "analysis": COPY, "verdict": "UNSCORED", "reward": None}
    rows += [{**short, "anchor": True, "completion_tok": 1} for _ in range(200)]


def test_anchors_which_no_judge_was_asked_about_trip_nothing() -> None:
    assert watched(config(), _anchors) == []


def test_the_same_rows_were_they_no_anchors_would_trip() -> None:
    def plant(step: int, metrics: dict[str, Any], rows: list[Row]) -> None:
        _anchors(step, metrics, rows)
        rows[:] = [{**one, "anchor": False} for one in rows]

    assert {one.wire for one in watched(config(), plant)} == {"copied_analysis", "length_collapse", "unscored"}


def test_no_tripwire_stops_a_default_run_and_none_is_off() -> None:
    assert {getattr(config(), wire) for wire in WIRES} == {"warn"}
