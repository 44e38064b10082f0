import pytest

from cada_trl.numbers import ABSENT, POINTS, RATE, REWARD, SCORE, p_text


@pytest.mark.parametrize(
    ("scale", "value", "low", "high", "notes", "text"),
    [
        (RATE, 0.42, 0.2938, 0.5577, ["21/50"], "42.0 % (29.4 to 55.8; 21/50)"),
        (RATE, 0.42, None, None, [], "42.0 %"),
        (RATE, 0.42, None, None, ["n 3/4", ""], "42.0 % (n 3/4)"),
        (POINTS, 0.12, -0.03, 0.2, ["50 pairs"], "+12.0 points (-3.0 to +20.0; 50 pairs)"),
        (SCORE, 0.415, 0.31, 0.53, ["n 50"], "0.41 (0.31 to 0.53; n 50)"),
        (REWARD, 0.2, 0.05, 0.35, ["50 pairs"], "+0.20 (+0.05 to +0.35; 50 pairs)"),
    ],
)
def test_a_number_stands_with_its_interval_and_its_counts(scale, value, low, high, notes, text):
    assert str(scale.cell(value, low, high, *notes)) == text


def test_what_is_absent_is_never_written_as_a_number():
    assert RATE.cell(None, 0.0, 1.0, "0/0") == ABSENT and RATE.text(None) == p_text(None) == "n/a"


def test_a_small_p_is_a_bound_and_the_adjusted_one_stands_in_brackets():
    assert (p_text(0.0004), p_text(0.04), p_text(0.04, 0.08)) == ("< 0.001", "0.040", "0.040 (0.080)")
