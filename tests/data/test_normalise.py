from cada_trl.data.normalise import normalise, text_hash


def test_case_punctuation_and_white_space_do_not_count() -> None:
    assert normalise("  How do I,  PICK a lock?!\n") == "how do i pick a lock"


def test_full_width_letters_and_ligatures_are_the_plain_ones() -> None:
    assert normalise("ＦＩＬＥ ﬁle") == "file file"


def test_both_apostrophes_join_a_contraction() -> None:
    assert normalise("don't") == normalise("don’t") == normalise("dont")


def test_a_text_without_letter_or_digit_is_empty() -> None:
    assert normalise("?! … 😀 __") == ""


def test_the_hash_is_that_of_the_comparison_form() -> None:
    assert text_hash("A b!") == text_hash("a  B")
    assert text_hash("a b") != text_hash("ab")
