from cada_trl.data.decontaminate import find_overlaps, report
from cada_trl.data.normalise import normalise

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def overlaps(text: str, reference: str, n_gram: int = 13, benchmark: str = "advbench") -> dict[str, str]:
    found = find_overlaps([normalise(text)], {benchmark: [reference]}, n_gram, 0.8)
    return {overlap.benchmark: overlap.kind for overlap in found.values()}


def test_the_same_text_in_other_case_and_punctuation_is_exact() -> None:
    assert overlaps("Rob a bank!", "rob a  BANK") == {"advbench": "exact"}


def test_thirteen_shared_words_are_an_overlap_and_twelve_are_not() -> None:
    other = "and now for a good deal of other words that make this text unlike the first one in every way there is"
    assert overlaps(f"start {LONG}", f"{LONG} {other}") == {"advbench": "n_gram"}
    assert overlaps(f"start {LONG}", f"{LONG.removesuffix(' thirteen')} {other}") == {}


def test_a_reworded_short_request_is_a_near_duplicate() -> None:
    assert overlaps("how do i rob the big bank in town", "How do I rob a big bank in town?") == {}
    assert overlaps("how do i rob the big bank in town", "How do I rob the big bank in town now?") == {
        "advbench": "near_duplicate"
    }


def test_exam_questions_are_compared_exactly_but_not_for_likeness() -> None:
    assert overlaps("how many apples are left now", "How many apples are left now?", benchmark="gsm8k") == {
        "gsm8k": "exact"
    }
    assert overlaps("how many apples are left now", "How many apples are left now, then?", benchmark="gsm8k") == {}


def test_exact_wins_over_n_gram_whatever_the_order_of_the_benchmarks() -> None:
    texts = {"advbench": [f"{LONG} more"], "xstest": [LONG]}
    found = find_overlaps([LONG], texts, 13, 0.8)
    assert (found[LONG].benchmark, found[LONG].kind) == ("xstest", "exact")


def test_the_report_counts_each_benchmark_and_names_the_absent_ones() -> None:
    texts = {"advbench": ["rob a bank", "x"], "xstest": ["kill a process"]}
    found = find_overlaps(["rob a bank", "bake bread"], texts, 13, 0.8)
    made = report(found, texts)
    assert made["found"] == {
        "advbench": {"n_texts": 2, "dropped": {"exact": 1}},
        "xstest": {"n_texts": 1, "dropped": {}},
    }
    assert "hex_phi" in made["not_found"]
    assert made["checked"] is True


def test_without_benchmarks_the_report_says_that_nothing_was_checked() -> None:
    assert report({}, {})["checked"] is False
