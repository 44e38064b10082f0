import pytest

from cada_trl.tracking.metrics import METRICS, PROBE_SETS, checked, metric


@pytest.mark.parametrize(("name", "said"), [("train/kl_nat", "train/kl_nats"), ("probe/helpful/nll_nats", "probe/")])
def test_an_unknown_name_raises_with_the_nearest_known_one(name, said):
    with pytest.raises(ValueError, match=f"unknown metric '{name}'; did you mean {said}"):
        metric(name)


def test_refusing_is_better_on_harmful_requests_and_worse_on_harmless_ones():
    better = {probe_set: metric(f"probe/{probe_set}/refused_frac").better for probe_set in PROBE_SETS}
    assert better == {"harmful": "up", "held_out": "up", "harmless": "down", "xstest_safe": "down"}


def test_every_metric_has_a_unit_that_its_name_agrees_with():
    units = {"_frac": "fraction", "_nats": "nats", "_tok": "tokens", "_s": "s"}
    for name, entry in METRICS.items():
        for suffix, unit in units.items():
            if name.endswith(suffix):
                assert entry.unit == unit, name
        assert entry.meaning


def test_what_is_not_finite_is_absent_and_never_a_number():
    values = {"train/loss": float("nan"), "train/kl_nats": float("inf"), "train/lr": None, "train/reward_mean": 0}
    assert checked(values) == {"train/loss": None, "train/kl_nats": None, "train/lr": None, "train/reward_mean": 0.0}
