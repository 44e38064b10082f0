"""A policy file is compiled to a pack and twins by its content, and each mistake is named with line and field."""

from pathlib import Path

import pytest

from cada_trl.config import load_config
from cada_trl.config.run_config import N_BESIDE
from cada_trl.data.sources import read_twins
from cada_trl.data.split import pair_roles
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.hazards.pack import load_pack
from cada_trl.hazards.policy import compile_policy, form_of, read_policy

from .policy_file import BESIDE, edit, example


@pytest.fixture
def folder(tmp_path):
    return example(tmp_path)


def test_what_is_compiled_is_what_the_loaders_read(folder):
    made, policy = compile_policy(str(folder)), read_policy(str(folder)).policy
    assert policy
    pack, source = load_pack(str(made.pack)), read_twins(made.twins, {"tenancy"})
    assert pack.name == "mine"
    assert pack.hazards["tenancy"].cases == policy.hazards[0].cases
    assert pack.hazards["tenancy"].extensive.rules == (policy.hazards[0].code,)
    assert [row.text for row in source.rows if row.harmful] == [pair.harmful for pair in policy.twins]
    assert [row.text for row in source.rows if not row.harmful] == [pair.harmless for pair in policy.twins]


def test_files_are_written_again_only_where_the_content_changed(folder):
    made = compile_policy(str(folder))
    before = made.twins.stat().st_mtime_ns
    edit(folder, "# A safety policy in one file.", "# Ours.")
    assert compile_policy(str(folder)) == made and made.twins.stat().st_mtime_ns == before
    edit(folder, "without asking.", "without a word.")
    changed = compile_policy(str(folder))
    assert changed.twins != made.twins and made.twins.is_file()


def test_a_compiled_file_that_was_edited_is_made_again(folder):
    made = compile_policy(str(folder))
    whole = made.twins.read_bytes()
    made.twins.write_bytes(whole[:-100])
    assert compile_policy(str(folder)).twins.read_bytes() == whole


def test_a_pairs_id_does_not_depend_on_its_place(folder):
    ids = {row.pair for row in read_twins(compile_policy(str(folder)).twins).rows}
    file = folder / "policy.yaml"
    head, pairs = file.read_text(encoding="utf-8").split("twins:\n")
    moved = pairs.split("  - hazard")[1:][::-1]
    file.write_text(f"{head}twins:\n{''.join(f'  - hazard{pair}' for pair in moved)}", encoding="utf-8")
    assert {row.pair for row in read_twins(compile_policy(str(folder)).twins).rows} == ids


def test_what_stands_beside_a_policy_is_trained_on_with_it_and_its_own_alone_is_asked(folder):
    alone = load_config([f"policy={folder}"])
    edit(folder, "licence: unknown", f"{BESIDE}licence: unknown")
    made, config = compile_policy(str(folder)), load_config([f"policy={folder}"])
    pack, builtin = load_pack(config.hazards), load_pack("builtin")
    assert pack.name == "mine" and list(pack.hazards) == [*builtin.hazards, "tenancy"]
    assert all(pack.hazards[name] == builtin.hazards[name] for name in builtin.hazards)
    rows, own = read_twins(Path(str(config.data.file)), pack.hazards).rows, read_twins(made.twins, {"tenancy"}).rows
    assert [row.text for row in rows] == [row.text for row in (*read_twins().rows, *own)]
    probed, probed_alone = pair_roles(rows, ()).probe, pair_roles(own, ()).probe
    assert len(probed_alone) == 2 and probed == probed_alone | pair_roles(read_twins().rows, ()).probe
    assert (alone.data.n_train, config.data.n_train) == (None, N_BESIDE)
    for words in ([f"policy={folder}", "n_train=100"], ["data.n_train=100", f"policy={folder}"]):
        assert load_config(words).data.n_train == 100
    asked = load_evaluate_config([f"policy={folder}"])
    assert (asked.twins_file, asked.hazards) == (str(made.twins), str(made.pack))


def test_a_hazard_under_a_built_in_ones_name_is_refused_where_these_stand_beside_it(folder):
    edit(folder, "licence: unknown", f"{BESIDE}licence: unknown")
    edit(folder, "- id: tenancy ", "- id: privacy ")
    with pytest.raises(UserError, match=r"policy.yaml, line \d+: 'hazards.1.id': privacy is a built-in hazard's"):
        compile_policy(str(folder))
    edit(folder, BESIDE, "")
    assert compile_policy(str(folder))


@pytest.mark.parametrize(
    ("old", "changed", "said"),
    [
        ("    code: >-", "    coed: >-", r"line 15: unknown key 'hazards.1.coed'; did you mean code\?"),
        ("    harmful: What", "    harmfull: What", r"unknown key 'twins.3.harmfull'; did you mean harmful\?"),
        ("verdict: answer", "verdict: [", r"cannot be read as YAML"),
    ],
)
def test_a_mistake_is_named_with_line_and_field(folder, old, changed, said):
    edit(folder, old, changed)
    with pytest.raises(UserError, match=said) as error:
        compile_policy(str(folder))
    assert f"{folder}/policy.yaml, line " in str(error.value)


def test_a_policy_s_file_in_place_of_its_folder_is_told_the_folder(folder):
    with pytest.raises(UserError, match=f"it is a file; give its folder, policy={folder}/$"):
        read_policy(f"{folder}/policy.yaml")
    (folder / "mine.yaml").write_text("")
    with pytest.raises(UserError, match=r"mine\.yaml: it is a file; put it into a folder, as policy\.yaml$"):
        read_policy(f"{folder}/mine.yaml")


@pytest.mark.parametrize(("name", "advised"), [("acme", True), ("Acme", False), ("builtin", False)])
def test_a_new_policy_is_advised_only_under_a_name_that_one_can_have(name, advised):
    with pytest.raises(UserError) as error:
        read_policy(name)
    assert (f"policy new {name} writes one" in str(error.value)) is advised


def test_a_file_that_is_too_large_to_read_is_told_where_many_pairs_go(folder):
    with (folder / "policy.yaml").open("a", encoding="utf-8") as file:
        file.write("# and more\n" * 50_000)
    with pytest.raises(
        UserError, match=r"bytes, more than the 524,288 that are read; .* hazards=<folder> data=twins file="
    ):
        read_policy(str(folder))


def test_a_hazard_that_only_refuses_is_refused(folder):
    file = folder / "policy.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("verdict: answer", "verdict: refuse"), encoding="utf-8")
    with pytest.raises(UserError, match=r"'hazards.1.cases': no case with verdict: answer"):
        compile_policy(str(folder))


@pytest.mark.parametrize("end", ["?", "？", "؟", "՞", "፧", "\u037e", "?)", "?\u201d", "？」", "? »"])
def test_a_question_is_known_by_its_mark_in_any_script(end):
    assert (form_of(f"May I{end}"), form_of(f"May I{end} Do it.")) == ("question", "instruction")


def test_a_semicolon_ends_no_question():
    assert form_of("Wait;") == "instruction"
