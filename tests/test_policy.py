"""policy: what a policy file lacks, leaks or could use, each with line and field; an error is exit code 2."""

import pytest
from hazards.policy_file import BESIDE, edit, example

from cada_trl.data.sources import read_twins
from cada_trl.data.split import pair_roles
from cada_trl.errors import UserError
from cada_trl.hazards.policy import compile_policy
from cada_trl.policy import check, main, new

PAIR = """  - hazard: {}
    harmful: {}
    harmless: {}
"""


SMALL = "requests_per_step=8", "micro_batch=8"  # which the example fills


@pytest.fixture
def folder(tmp_path):
    return example(tmp_path)


def add(folder, *pairs):
    with (folder / "policy.yaml").open("a", encoding="utf-8") as file:
        file.write("".join(PAIR.format(*pair) for pair in pairs))


def errors(folder, *overrides):
    return [one.text for one in check(str(folder), list(overrides)) if one.is_error]


def advice(folder):
    return [one.text for one in check(str(folder), []) if not one.is_error]


def test_the_example_is_told_how_many_pairs_a_training_and_a_good_one_need(folder, capsys):
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().out
    lack = "4 harmful requests to train on are fewer than the 8 per step; write 6 more pairs of a hazard, or lower"
    assert said.startswith(f"error: {lack} requests_per_step\n")
    assert "line 12: 'hazards.1.id': tenancy has 6 pairs; add 74 for the 80 that are recommended" in said


def test_as_many_pairs_as_are_asked_for_are_enough(folder, capsys):
    tasks = "paint", "wire", "heat", "plumb", "tile", "sweep"
    add(folder, *(("tenancy", f"Bill him for a {task}.", f"Thank them, {task} or not.") for task in tasks))
    assert main(["check", str(folder)]) == 0
    words, said = f"policy={folder}", capsys.readouterr().out
    assert said.endswith(
        f"no error; how separable it is: python -m cada_trl.card {words}; next: python -m cada_trl.train {words}\n"
    )


def test_an_empty_name_is_no_policy():
    with pytest.raises(UserError, match="expected small letters"):
        new("")


def test_a_policy_that_is_there_is_not_written_over(folder):
    with pytest.raises(UserError, match="is there already"):
        new(str(folder))


def test_rows_that_a_training_asks_for_in_vain_are_an_error(folder, capsys):
    assert main(["check", str(folder), "n_train=100000"]) == 2
    assert "are left to train on; lower n_train, or null for all" in capsys.readouterr().out


def test_every_missing_field_is_said_at_once_and_the_exit_code_is_2(folder, capsys):
    edit(folder, "    name: Tenancy\n", "")
    add(folder, ("tenancy", "Is this one alone?", ""))
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().out
    assert "'hazards.1.name' is missing" in said and "'twins.7.harmless' is None; expected text" in said
    assert said.endswith("errors: 2\n")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("tenanci", "Hide a leak?", "Mend a leak?"), "'twins.7.hazard': no hazard 'tenanci'; did you mean tenancy?"),
        (("tenancy", "Mend a leak?", "mend  a leak?"), "'twins.7.harmless': the same text as the harmful one"),
        (
            (
                "tenancy",
                "How do I word the notice so that the tenants overlook their right to object?",
                "How do I word the notice so that the tenants notice their right to object?",
            ),
            "'twins.7': the same pair as line",
        ),
        (
            ("child_sexual_exploitation", "Hide a leak?", "Mend a leak?"),
            "'twins.7.hazard': child_sexual_exploitation takes no harmful text",
        ),
        (("tenancy", "Hide a leak?", "Mend a leak."), "'twins.7.harmless': instruction, its partner question"),
        (
            ("tenancy", "Draft a reference that claims I paid rent on time when I did not!", "Draft one for a friend."),
            "'twins.7.harmful': the same text as line 51: 'twins.4.harmful'",
        ),
        (
            ("tenancy", "Write an advert that hides the damp in the flats from people who view it.", "Write a poem."),
            "'twins.7.harmful': nearly the same text as line 45: 'twins.2.harmful'",
        ),
    ],
)
def test_a_pair_that_is_broken_or_leaks_is_an_error(folder, pair, said):
    add(folder, pair)
    assert any(said in text for text in errors(folder)), errors(folder)


def test_a_case_that_is_a_twin_too_is_said_to_leak_where_the_twin_is_held_out(folder):
    rows = read_twins(compile_policy(str(folder)).twins).rows
    held_out = pair_roles(rows, ()).probe
    asked = next(row.text for row in rows if row.pair in held_out)
    edit(folder, "My tenant is two months behind. What may I do?", asked)
    assert [
        text for text in errors(folder) if "one of them is held out" in text and "'hazards.1.cases.3.request'" in text
    ]


def test_a_text_of_a_built_in_pair_leaks_where_these_stand_beside(folder):
    harmful, harmless = (f"{row.text.rstrip('.?!')} please{row.text[-1]}" for row in read_twins().rows[:2])
    add(folder, ("tenancy", harmful, harmless))
    assert not [text for text in errors(folder) if "built-in pair" in text]
    edit(folder, "licence: unknown", f"{BESIDE}licence: unknown")
    said = f"the text, or nearly, of the built-in pair {read_twins().rows[0].pair}, which stands beside; write it anew"
    assert [text for text in errors(folder) if said in text and "'twins.7.harmful'" in text]


def test_a_hazard_without_twins_or_without_enough_cases_is_an_error(folder):
    edit(
        folder,
        "# Pairs of",
        "  - {id: noise, name: Noise, code: Keep quiet., cases: [{request: a, analysis: b, "
        "verdict: answer, response: c}]}\n# Pairs of",
    )
    assert any("'hazards.2.id': noise has 0 pairs in twins" in text for text in errors(folder))
    add(folder, ("noise", "Wake all at night?", "Wake none at night?"), ("noise", "Shout at noon!", "Sing at noon!"))
    assert errors(folder, *SMALL) == ["n_cases=3, but hazard 'noise' has 1 cases; lower n_cases or add cases"]
    assert errors(folder, *SMALL, "n_cases=1") == []


def test_a_row_of_a_public_evaluation_set_is_an_error(folder, tmp_path):
    (tmp_path / "sets/advbench").mkdir(parents=True)
    text = "Help me to enter the flat while the tenant is at work, without asking."
    (tmp_path / "sets/advbench/a.csv").write_text(f'goal,target\n"{text}",x\n', encoding="utf-8")
    assert errors(folder, *SMALL) == []
    found = errors(folder, f"benchmarks_dir={tmp_path / 'sets'}")
    assert len(found) == 1 and "'twins.6.harmful': in the benchmark advbench (exact)" in found[0]


def test_a_word_that_stands_on_one_side_is_named(folder):
    assert not any("give the answer away" in text for text in advice(folder))
    tasks = ("painting", "wiring", "gardening", "plumbing", "tiling")
    add(folder, *(("tenancy", f"Do {task} illegally now.", f"Do some {task} and rest.") for task in tasks))
    assert any("'illegally' (5 of its 5 rows harmful)" in text for text in advice(folder))
