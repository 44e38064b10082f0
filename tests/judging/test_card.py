"""judging.card: what a judge gives is compared, paid for once and kept by its id."""

import json

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.card import (
    LabelSet,
    area_under_roc,
    card,
    card_path,
    find_card,
    headline,
    kept_card,
    labels_hash,
    read_label_sets,
    row_of,
)
from cada_trl.judging.endpoint import Usage
from cada_trl.judging.judge import Judged
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import Verdict
from cada_trl.statistics.intervals import wilson

POOLED = LabelSet(
    "xstest pooled, partial refused",
    "refused",
    [("q", "no"), ("q", "yes"), ("q", "silence"), ("p", "no")],
    [True, False, True, False],
    ["homonyms", "homonyms", "homonyms", "contrast_homonyms"],
)
JAILBROKEN = LabelSet("jailbreakbench, jailbroken", "harmful", [("q", "no"), ("q", "yes")], [False, True])
SAID = {"no": Verdict.REFUSED, "yes": Verdict.COMPLIED, "silence": Verdict.UNSCORED}


class Scripted:
    """Its verdict is the response; labels of harm as asked for; a question costs 10 and 2 tokens."""

    id = "scripted/judge-1"

    def __init__(self, harm=False, refusal=True, score=False):
        self.usage = Usage()
        self.asked = []
        self._harm, self._refusal, self._score = harm, refusal, score

    def judge(self, pairs):
        for pair in pairs:
            self.asked.append(pair)
            self.usage.add(10, 2)
        return [self._judge(response) for _, response in pairs]

    def _judge(self, response):
        known = response != "silence"
        verdict = SAID[response] if self._refusal else Verdict.UNSCORED
        return Judged(
            verdict,
            response,
            "scripted",
            harmful=response == "yes" if self._harm and known else None,
            harmful_score=float(response == "yes") if self._score and known else None,
        )


def names(found):
    return [(row["name"], row["label"]) for row in found["sets"]]


def test_a_pair_of_several_sets_is_judged_once_and_its_cost_counted():
    judge = Scripted()
    found = card(judge, [POOLED, POOLED, JAILBROKEN])
    assert judge.asked == [("q", "no"), ("q", "yes"), ("q", "silence"), ("p", "no")]
    assert found["cost"] == {"pairs": 4, "calls": 4, "prompt_tok": 40, "completion_tok": 8}
    assert found["speed"]["pairs_per_s"] > 0


def test_the_kinds_of_request_have_their_own_confusion():
    found = card(Scripted(), [POOLED])
    row = found["sets"][0]
    counts = ("true_yes", "false_yes", "false_no", "true_no", "unscored")
    assert [row[count] for count in counts] == [1, 1, 0, 1, 1]
    groups = found["groups"]["xstest pooled, partial refused (refused)"]
    assert [(one["name"], one["n"], one["accuracy"]) for one in groups] == [
        ("contrast_homonyms", 1, 0.0),
        ("homonyms", 2, 1.0),
    ]


def test_a_judge_is_compared_on_the_labels_that_it_gives():
    refused, harmful = (POOLED.name, "refused"), (JAILBROKEN.name, "harmful")
    both = [POOLED, JAILBROKEN]
    assert names(card(Scripted(), both)) == [refused]
    assert names(card(Scripted(harm=True), both)) == [refused, harmful]
    found = card(Scripted(harm=True, refusal=False), both)
    assert names(found) == [harmful]
    assert (found["sets"][0]["true_yes"], found["sets"][0]["true_no"], found["sets"][0]["n"]) == (1, 1, 2)
    silent = card(Scripted(refusal=False), both)
    assert [(row["n"], row["accuracy"]) for row in silent["sets"]] == [(0, None)]


def test_a_score_is_judged_by_its_order_not_by_a_threshold():
    found = card(Scripted(score=True), [POOLED, JAILBROKEN])
    assert names(found) == [(POOLED.name, "refused")]  # no label of harm: the score has no line through it
    assert found["order"] == [{"name": JAILBROKEN.name, "n_harmful": 1, "n_other": 1, "area": 1.0}]
    assert "orders JailbreakBench's responses with an area of 1.00" in headline(found)


def test_the_headline_is_one_sentence_with_the_interval():
    said = headline(card(Scripted(), [POOLED]))
    agrees = "66.7 % [20.8, 93.9], kappa 0.40 on 3 of XSTest's completions"
    assert said == f"Agreement of the judge scripted/judge-1 with people: {agrees}."
    assert "not measured" in headline(card(Scripted(refusal=False), [POOLED]))


def test_a_card_is_kept_under_its_judges_id(tmp_path):
    found = kept_card(Scripted(), [POOLED], tmp_path / "cards")
    assert find_card("scripted/judge-1", tmp_path / "cards") == json.loads(json.dumps(found))
    assert find_card("scripted/judge-2", tmp_path / "cards") is None
    assert find_card("scripted/judge-1", None) is None
    card_path("scripted/judge-1", tmp_path / "cards").write_text("{")
    with pytest.raises(UserError, match=r"is not a JSON object .*; delete it and run make judge-card again"):
        find_card("scripted/judge-1", tmp_path / "cards")


class Cached(Scripted):
    """Asks again only for what it left unscored."""

    def judge(self, pairs):
        super().judge([pair for pair in pairs if pair not in self.asked or pair[1] == "silence"])
        return [self._judge(response) for _, response in pairs]


def test_a_card_that_is_measured_again_keeps_what_its_earlier_calls_cost(tmp_path):
    judge = Cached()
    path = card_path(judge.id, tmp_path)
    kept_card(judge, [POOLED], tmp_path)
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"speed": {"seconds": 25.0, "pairs_per_s": 0.2}}))
    found = kept_card(judge, [POOLED], tmp_path)
    assert found["cost"] == {"pairs": 4, "calls": 5, "prompt_tok": 50, "completion_tok": 10}
    assert found["speed"]["pairs_per_s"] == 0.2 and 25.0 <= found["speed"]["seconds"] < 26.0
    judge.usage.prompt_tok = None
    kept_card(judge, [POOLED], tmp_path)
    judge.usage = Usage()
    cost = kept_card(judge, [POOLED], tmp_path)["cost"]
    assert (cost["calls"], cost["prompt_tok"], cost["completion_tok"]) == (7, None, 14)
    other = kept_card(Cached(), [POOLED, JAILBROKEN], tmp_path)  # other labels: another card
    assert other["cost"]["calls"] == 4


def test_a_judge_that_labels_nothing_has_no_card(tmp_path):
    with pytest.raises(UserError, match=r"judge scripted/judge-1 labelled none of 4 pairs.*same command asks again"):
        kept_card(Scripted(refusal=False), [POOLED], tmp_path)
    assert find_card(Scripted.id, tmp_path) is None


def test_labels_of_nothing_that_the_judge_says_are_no_fault_of_the_judge(tmp_path):
    empty = LabelSet("jailbreakbench, not jailbroken", "refused", [], [])
    with pytest.raises(UserError, match=r"no label is of what the judge scripted/judge-1 says; expected XSTest"):
        kept_card(Scripted(), [empty, JAILBROKEN], tmp_path)


def test_a_card_of_a_part_of_the_labels_has_no_overall_rate_and_says_so():
    part = LabelSet("jailbreakbench, not jailbroken", "refused", [("q", "no"), ("q", "yes")], [True, False])
    assert "no overall rate, see the card" in headline(card(Scripted(), [part]))


def test_the_offline_judges_card_comes_with_the_package():
    found = find_card(PhraseJudge().id, None)
    assert found is not None, "run make judge-card and put its card into judging/assets as card_<judge id>.json"
    assert "on 2250 of XSTest's completions" in headline(found)


@pytest.mark.slow
def test_the_packaged_card_is_what_the_labels_say(shared_data):
    stored = find_card(PhraseJudge().id, None)
    measured = card(PhraseJudge(), read_label_sets(shared_data))
    for key in ("labels", "sets", "groups", "cost"):
        assert stored[key] == measured[key]


def test_counts_and_rates_of_ten_scored_items_are_those_done_by_hand():
    said = [True] * 5 + [False] * 5 + [None] * 2
    people = [True] * 4 + [False] + [True] * 2 + [False] * 3 + [True, False]
    row = row_of("set", "refused", said, people)
    counts = ("true_yes", "false_yes", "false_no", "true_no", "unscored")
    assert [row[count] for count in counts] == [4, 1, 2, 3, 2]
    assert row["kappa"] == pytest.approx(0.4)  # chance: .5*.6 + .5*.4 = .5
    assert (row["accuracy"], row["precision"]) == (0.7, 0.8)
    assert row["recall"] == pytest.approx(4 / 6)
    assert row["f1"] == pytest.approx(8 / 11)
    assert row["coverage"] == pytest.approx(10 / 12)
    assert row["accuracy_interval"] == list(wilson(7, 10))


def test_a_judge_that_says_nothing_has_no_accuracy_and_the_widest_interval():
    row = row_of("set", "refused", [None], [True])
    assert (row["n"], row["coverage"], row["accuracy"], row["kappa"], row["f1"]) == (0, 0.0, None, None, None)
    assert row["accuracy_interval"] == [0.0, 1.0]


def test_labels_that_do_not_match_the_items_raise():
    with pytest.raises(ValueError):
        row_of("set", "refused", [True], [True, False])


def test_the_area_counts_ordered_pairs_and_half_the_ties():
    labelled = LabelSet("set", "harmful", [("q", str(i)) for i in range(5)], [True, True, False, False, False])

    def area(*scores):
        judged = [Judged(Verdict.UNSCORED, "", "", harmful_score=score) for score in scores]
        return area_under_roc(labelled, dict(zip(labelled.pairs, judged, strict=True)))

    found = area(1.0, 0.5, 0.5, 0.0, None)
    # harmful 1.0 wins over 0.5 and 0.0; harmful 0.5 ties with 0.5 and wins over 0.0: 3.5 of 4
    assert found == {"name": "set", "n_harmful": 2, "n_other": 2, "area": 0.875}
    assert area(None, None, 0.5, 0.0, 0.0)["area"] is None


def test_a_partial_refusal_is_read_in_three_ways(labels):
    sets = {one.name: one.people for one in read_label_sets(labels)}
    assert sets["xstest tiny"] == [False, True, True]
    assert sets["xstest pooled, partial refused"] == [False, True, True]
    assert sets["xstest pooled, partial left out"] == [False, True]
    assert sets["xstest pooled, partial complied"] == [False, True, False]


def test_jailbroken_is_a_label_of_harm_and_not_jailbroken_one_of_refusal_where_the_request_was_harmful(labels):
    harm, refusal = read_label_sets(labels)[-2:]
    assert (harm.label, harm.people) == ("harmful", [False, True, False])
    assert harm.groups == ["attacked harmful request"] * 2 + ["harmless request"]
    assert (refusal.label, refusal.people) == ("refused", [True, False])


def test_other_labels_have_another_hash(labels):
    sets = read_label_sets(labels)
    assert labels_hash(sets) == labels_hash(read_label_sets(labels))
    assert labels_hash(sets) != labels_hash(sets[:-1])


def test_a_row_with_an_unknown_label_is_refused_with_its_number(labels):
    path = labels / "xstest" / "model_completions" / "xstest_v2_completions_tiny.csv"
    path.write_text(path.read_text().replace("2_full_refusal", "refusal"))
    with pytest.raises(UserError, match="row 2"):
        read_label_sets(labels)


def test_the_real_labels_are_five_models_of_450_and_300_comparisons(shared_data):
    sizes = {one.name: len(one.pairs) for one in read_label_sets(shared_data)}
    assert sum(size == 450 for size in sizes.values()) == 5
    assert sizes["xstest pooled, partial refused"] == 2250
    assert sizes["xstest pooled, partial left out"] == 2250 - 176
    assert (sizes["jailbreakbench, jailbroken"], sizes["jailbreakbench, not jailbroken"]) == (300, 200)
