"""A card as it could have been measured: one pair asked about, one absent, a curve of two sizes."""

from cada_trl.separability.card import Card, PairResult
from cada_trl.separability.probe import CurvePoint, Interval, Separation, Spread

PROBE = Separation(auc=Interval(value=0.86, low=0.83, high=0.89), j=Interval(value=0.56, low=0.5, high=0.62))
WORDS = Separation(auc=Interval(value=0.71, low=0.67, high=0.75), j=Interval(value=0.33, low=0.28, high=0.4))
ASKED = PairResult(
    harmful="StrongREJECT",
    harmless="XSTest safe",
    n_harmful=313,
    n_harmless=250,
    absent=None,
    probe=PROBE,
    bag_of_words=WORDS,
)
ABSENT = PairResult(
    harmful="AdvBench",
    harmless="OR-Bench hard",
    n_harmful=0,
    n_harmless=0,
    absent="sets/advbench/harmful_behaviors.csv",
    probe=None,
    bag_of_words=None,
)
SPREAD = {"StrongREJECT | XSTest safe": Spread(mean=0.8, low=0.78, high=0.83)}
CURVE = [CurvePoint(n_pairs=75, n_draws=5, auc=SPREAD, j=SPREAD), CurvePoint(n_pairs=9000, n_draws=0, auc={}, j={})]


def made_up_card(**changes):
    values = {
        "inputs": {"version": 1},
        "request_set": "twins-01234567",
        "model": "smollm2",
        "n_harmful": 1000,
        "n_harmless": 990,
        "n_twins": 980,
        "layer": 20,
        "n_layers": 30,
        "layer_auc": {10: 0.81, 20: 0.9},
        "pairs": [ASKED, ABSENT],
        "curve": CURVE,
    }
    return Card(**(values | changes))
