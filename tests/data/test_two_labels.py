from cada_trl.data.two_labels import agreement, agreement_line


def test_agreement_is_counted_by_hand() -> None:
    # chance: yes 2/4 * 3/4 + no 2/4 * 1/4 = 1/2; observed 3/4
    assert agreement("yynn", "yyyn") == {"n": 4, "agreed": 3, "kappa": 0.5}
    assert agreement_line(agreement("yynn", "yyyn")) == "3 of 4 alike, Cohen's kappa 0.500"


def test_kappa_that_is_not_defined_is_no_number() -> None:
    assert agreement("yy", "yy") == {"n": 2, "agreed": 2, "kappa": None}
    assert agreement_line(agreement([], [])) == "0 of 0 alike, Cohen's kappa not defined"
