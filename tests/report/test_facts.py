from dataclasses import replace

import pytest

from cada_trl.document.blocks import Bullets, Table
from cada_trl.report.facts import NO_CARD, card_blocks, card_note, eval_facts, prompt_fact
from cada_trl.report.page import write_report
from tests.report.html_check import check_page
from tests.separability.made_up_card import ABSENT, ASKED, made_up_card

CARD = made_up_card().summary()


def test_what_the_judge_saw_is_that_of_the_judge_that_scored_and_not_of_the_last_calls_settings(scored):
    config = scored.config | {"judge": scored.config["judge"] | {"judge_sees": "completion"}}
    failed_later = replace(scored, config=config)
    assert eval_facts(failed_later)["The judge sees"] == "the original request and the final response"
    saw_more = scored.scores.model_copy(update={"judge_id": f"{scored.scores.judge_id}-sees-completion_and_prompt"})
    assert eval_facts(replace(failed_later, scores=saw_more))["The judge sees"] == "completion and prompt"


def test_other_items_under_one_benchmarks_name_are_another_fact(before):
    asked = [{"benchmark": "strongreject", "n_items": 24, "items_hash": "1a2b3c4d"}]
    told = eval_facts(replace(before, manifest=before.manifest | {"decides": {"asked": asked}}))
    assert told["Benchmarks"] == "StrongREJECT (24, items 1a2b3c4d), XSTest, safe (?)"


def test_a_pair_of_the_card_is_a_row_and_an_absent_one_a_line_that_names_its_file():
    table, absent = card_blocks(CARD)
    probe, words = ["0.86 [0.83, 0.89]", "0.56 [0.50, 0.62]"], ["0.71 [0.67, 0.75]", "0.33 [0.28, 0.40]"]
    assert isinstance(table, Table) and isinstance(absent, Bullets)
    assert table.rows == [["StrongREJECT | XSTest safe", "313, 250", *probe, *words]]
    assert absent.sentences == ["AdvBench | OR-Bench hard: absent: sets/advbench/harmful_behaviors.csv"]
    alone = card_blocks(made_up_card(pairs=[ASKED]).summary()), card_blocks(made_up_card(pairs=[ABSENT]).summary())
    assert [list(map(type, blocks)) for blocks in alone] == [[Table], [Bullets]]
    assert "layer 20 of 30" in card_note(CARD)


@pytest.mark.slow
def test_the_page_shows_the_card_or_says_how_to_make_it(run, tmp_path):
    assert NO_CARD in write_report([run], tmp_path / "without").read_text()
    shown = replace(run, manifest={**run.manifest, "card": CARD})
    page = write_report([shown], tmp_path / "with").read_text()
    check_page(page)
    assert NO_CARD not in page
    for text in ("0.86 [0.83, 0.89]", "0.71 [0.67, 0.75]", "absent: sets/advbench", "look harmful"):
        assert text in page


def test_cases_that_are_not_shown_are_not_named():
    prompt = {"arm": "cases", "cases_as": "turns", "cases_by": "hazard", "n_cases": 3, "hint": True}
    assert prompt_fact({"prompt": prompt}) == "arm cases, cases as turns"
    for changes in ({"hint": False}, {"n_cases": 0}):
        assert prompt_fact({"prompt": prompt | changes}) == "arm cases, codes without a case"
