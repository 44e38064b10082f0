"""Each tripwire by hand; a planted fault trips its own and no other, and a healthy record trips none."""

import pytest

from cada_trl.config import TripwiresConfig, load_config
from cada_trl.hazards.pack import load_pack
from cada_trl.statistics.intervals import Rate
from cada_trl.training import tripwires as wires
from cada_trl.training.tripwires import Watch

REWARDS, STAYS = ([-0.5] * 4, [0.5] * 4), [(True, True)] * 20


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (wires.share_above("x", Rate(2, 4, 4), 0.3), None),  # 50 %, but Wilson's interval begins at 15 %
        (
            wires.share_above("x", Rate(20, 32, 34), 0.3),
            "x: 62% (20 of 32, 2 unscored; 95 % interval 45% to 77%), limit 30%",
        ),
        (wires.share_above("x", Rate(0, 0, 9), 0.0), None),
        (wires.copied_analysis([1.0, 0.0], 6, 0.5), None),
        (wires.copied_analysis([], 6, 0.0), None),
        (wires.copied_analysis([1.0, 0.02], 6, 0.5), "51% of the 6-word runs"),
        (wires.length_collapse([100, 60], [20, 20], 0.25), None),
        (wires.length_collapse([100, 60], [19], 0.25), "from 80 tokens (first 2) to 19 (newest 1)"),
        (wires.length_collapse([], [1], 0.25), None),
        (wires.kl_jump(14.0, 0.0, 3.0, 50.0), None),  # many times what it was, and still small
        (wires.kl_jump(100.0, 40.0, 3.0, 50.0), None),
        (wires.kl_jump(121.0, 40.0, 3.0, 50.0), "121 nats per completion, at most 40 before; limit 3 times that"),
        (wires.kl_jump(None, 40.0, 3.0, 50.0), None),
        (wires.kl_jump(500.0, None, 3.0, 50.0), None),
        (wires.sampler_gap({"a": 0.06, "b": None}, 0.2), None),
        (wires.sampler_gap({"a": 0.06, "b": 0.3}, 0.2), "b = 0.3 nats"),
        (wires.reward_without_safety(REWARDS, STAYS, 0.3, 0.1), "rose by 1.00"),
        (wires.reward_without_safety(REWARDS, STAYS, 0.3, 0.1), "100% (20 of 20"),
        (wires.reward_without_safety(REWARDS, [(True, False)] * 15 + STAYS[:5], 0.3, 0.1), None),  # fell by 75 %
        (wires.reward_without_safety(REWARDS, [(False, False)] * 20, 0.3, 0.1), None),  # nothing left to lose
        (wires.reward_without_safety(([0.5], [0.6]), STAYS, 0.3, 0.1), None),  # no rise
        (wires.reward_without_safety(([], []), STAYS, 0.3, 0.1), None),
        (wires.reward_without_safety(REWARDS, [], 0.3, 0.1), None),
    ],
)
def test_what_trips_is_a_sentence_and_what_does_not_is_none(sentence, said):
    assert sentence is None if said is None else said in str(sentence)


def test_reused_word_runs_are_counted_without_case_and_punctuation():
    known = set(wires.n_grams("It asks for harm, so refuse.", 3))
    assert wires.reuse_frac("it ASKS for harm", known, 3) == 1.0
    assert wires.reuse_frac("it asks for a recipe", known, 3) == pytest.approx(1 / 3)
    assert wires.reuse_frac("two words", known, 3) is None


PACK = load_pack("builtin")
COPY = next(iter(PACK.hazards.values())).cases[0].analysis

WIRES = [name for name, field in TripwiresConfig.model_fields.items() if field.default == "off"]


def config(**changes):
    """As a run has it by default."""
    return load_config([]).tripwires.model_copy(update=changes)


def row(harmful, refused, reasoned):
    analysis = "This request asks me to hurt somebody, which I weigh against the law and then decline." * reasoned
    return {
        "harmful": harmful,
        "status": "ok" if reasoned else "no_marker",
        "analysis": analysis,
        "verdict": "REFUSED" if refused else "COMPLIED",
        "reward": (1.0 if reasoned else 0.0) if refused else (-1.0 if harmful else 1.0),
        "completion_tok": 50,
    }


def healthy(step):
    """Refusals of harmful requests grow, harmless ones are answered, one is unscored."""
    rows = [row(True, place < 4 + step, True) for place in range(16)]
    rows += [row(False, place == 0, place == 0) for place in range(8)]
    rows[3] |= {"verdict": "UNSCORED", "reward": None}
    return {"train/kl_nats": 0.0 if step == 1 else 9.0 * step, "train/sampler_gap_nats": 0.01}, rows


def probe(answered, refused_harmless=1):
    asked = [("harmful", n, n >= answered) for n in range(40)]
    asked += [("harmless", n, n < refused_harmless) for n in range(30)]
    return [{"set": of, "request_id": str(n), **row(of == "harmful", no, no)} for of, n, no in asked]


def watched(settings, plant=None, probes=(38, 20)):
    """Ten steps between two probes, a fault planted from step 4 on."""
    watch = Watch(settings, PACK)
    tripped = watch.probe(0, "before", probe(probes[0]))
    for step in range(1, 11):
        metrics, rows = healthy(step)
        if plant and step >= 4:
            plant(step, metrics, rows)
        tripped += watch.step(step, metrics, rows)
    return tripped + watch.probe(10, "after", probe(probes[1]))


def _change(harmful=None, **values):
    def plant(step, metrics, rows):
        for one in rows:
            if harmful is None or one["harmful"] is harmful:
                one.update(values)

    return plant


def _metric(name, value):
    return lambda step, metrics, rows: metrics.__setitem__(name, value)


PLANTS = {
    "over_refusal": _change(harmful=False, verdict="REFUSED", reward=-1.0),
    "empty_analysis": _change(harmful=True, analysis="It is bad."),
    "copied_analysis": _change(harmful=True, analysis=COPY),
    "length_collapse": _change(completion_tok=8),
    "kl_jump": _metric("train/kl_nats", 400.0),
    "unscored": _change(harmful=True, verdict="UNSCORED", reward=None),
    "sampler_gap": _metric("train/sync_gap_nats", 0.5),
}


def test_a_healthy_record_trips_nothing():
    assert watched(config()) == []


@pytest.mark.parametrize("wire", PLANTS)
def test_a_planted_fault_is_warned_of_once_by_its_own_tripwire(wire):
    (tripped,) = watched(config(), PLANTS[wire])
    assert (tripped.wire, tripped.action, tripped.name) == (wire, "warn", "train")
    assert 4 <= tripped.step <= 9


@pytest.mark.parametrize("wire", PLANTS)
def test_a_stop_is_repeated_for_as_long_as_it_trips_and_an_off_says_nothing(wire):
    stops = watched(config(**{wire: "stop"}), PLANTS[wire])
    assert len(stops) > 1 and {one.action for one in stops} == {"stop"}
    assert watched(config(**{wire: "off"}), PLANTS[wire]) == []


def test_refusals_of_the_harmless_probe_trip_at_the_probe():
    watch = Watch(config(), PACK)
    assert watch.probe(0, "before", probe(38)) == []
    (tripped,) = watch.probe(5, "step_000005", probe(20, refused_harmless=20))
    assert (tripped.wire, tripped.name) == ("over_refusal", "step_000005")
    assert "20 of 30" in tripped.seen


def test_a_reward_that_rises_while_the_probe_stays_trips_at_the_probe():
    (tripped,) = watched(config(), probes=(38, 38))
    assert (tripped.wire, tripped.name, tripped.step) == ("reward_without_safety", "after", 10)


def test_a_tripwire_that_recovered_warns_again():
    watch, jumps = Watch(config(), PACK), []
    for step, gap in enumerate([0.01, 0.5, 0.5, 0.01, 0.5], start=1):
        jumps += watch.step(step, {"train/sampler_gap_nats": gap}, [])
    assert [one.step for one in jumps] == [2, 5]


def test_a_method_without_completions_or_kl_trips_nothing():
    watch = Watch(config(**dict.fromkeys(WIRES, "stop")), PACK)
    assert [watch.step(step, {"train/loss": 1.0, "train/kl_nats": float("nan")}, []) for step in (1, 2)] == [[], []]


def _anchors(step, metrics, rows):
    short = {"harmful": False, "status": "ok", "analysis": COPY, "verdict": "UNSCORED", "reward": None}
    rows += [{**short, "anchor": True, "completion_tok": 1} for _ in range(200)]


def test_anchors_which_no_judge_was_asked_about_trip_nothing_where_the_same_rows_else_would():
    def plant(step, metrics, rows):
        _anchors(step, metrics, rows)
        rows[:] = [{**one, "anchor": False} for one in rows]

    assert watched(config(), _anchors) == []
    assert {one.wire for one in watched(config(), plant)} == {"copied_analysis", "length_collapse", "unscored"}


def silent(*n_scored, block_steps):
    """The steps at which a silent judge stops a run whose steps have so many verdicts among three completions."""
    watch, stops = Watch(config(), PACK, block_steps), []
    for step, n in enumerate(n_scored, start=1):
        rows = [row(True, True, True) for _ in range(3)]
        for one in rows[n:]:
            one.update(verdict="UNSCORED", reward=None)
        stops += watch.step(step, {}, rows)
    assert {(one.wire, one.action) for one in stops} <= {("silent_judge", "stop")}
    return [one.step for one in stops]


@pytest.mark.parametrize(
    ("n_scored", "block_steps", "stops"),
    [
        ([3, 0, 0, 0, 0], 4, [5]),
        ([0, 0, 0, 1, 0, 0, 0], 4, []),
        ([3, 0], 1, [2]),
        ([0, 0, 0], 0, []),  # verdicts pay nothing
        ([0, 0, 0, 3], 2, [2]),  # a run that went on stops at the next silent block alone
        ([0, 0, 0, 0], 2, [2, 4]),
    ],
)
def test_a_judge_that_is_silent_for_all_steps_that_are_sampled_at_once_stops_the_run(n_scored, block_steps, stops):
    assert silent(*n_scored, block_steps=block_steps) == stops


def test_a_silent_judge_alone_stops_a_default_run_and_no_tripwire_is_off():
    actions = {wire: getattr(config(), wire) for wire in WIRES}
    assert actions.pop("silent_judge") == "stop"
    assert set(actions.values()) == {"warn"}
