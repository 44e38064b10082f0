"""The example policies that are shipped: whole, without a leak, found by name, and behind a user's own of that name."""

from collections import Counter
from pathlib import Path

import pytest

from cada_trl.config import load_config
from cada_trl.data.sources import read_twins
from cada_trl.hazards.pack import load_pack
from cada_trl.hazards.policy import SHIPPED, compile_policy, form_of, read_policy
from cada_trl.policy import check, new

from .policy_file import edit

NAMES = sorted(file.stem for file in SHIPPED.glob("*.yaml"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_there_are_two():
    assert NAMES == ["pharmacy", "tenancy"]


@pytest.mark.parametrize("name", NAMES)
def test_check_finds_no_error_and_no_word_that_gives_the_answer_away(name):
    found = check(name, [])
    assert [one.text for one in found if one.is_error] == []
    assert [one.text for one in found if "give the answer away" in one.text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_hazards_and_both_forms_have_as_many_pairs_and_a_text_has_5_to_40_words(name):
    policy = read_policy(name).policy
    assert policy and len(policy.hazards) >= 3 and len(policy.twins) >= 40
    counts = Counter((pair.hazard, form_of(pair.harmful)) for pair in policy.twins)
    assert set(counts) == {(hazard.id, form) for hazard in policy.hazards for form in ("question", "instruction")}
    assert max(counts.values()) - min(counts.values()) <= 2
    assert len({pair.id for pair in policy.twins}) == len(policy.twins)
    texts = [text for pair in policy.twins for text in (pair.harmful, pair.harmless)]
    assert [text for text in texts if not 5 <= len(text.split()) <= 40] == []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_compiled_into_the_users_folder_and_read_by_a_training(name):
    policy, made = read_policy(name).policy, compile_policy(name)
    assert policy and made.pack.parts[:3] == ("policies", name, "compiled")
    config = load_config([f"policy={name}"])
    own, pack = load_pack(str(made.pack)), load_pack(config.hazards)
    assert pack.name == own.name == name and list(own.hazards) == [hazard.id for hazard in policy.hazards]
    assert pack.hazards.keys() == load_pack("builtin").hazards.keys() | own.hazards.keys()
    assert len(read_twins(made.twins, own.hazards).rows) == 2 * len(policy.twins)
    assert Path(str(config.data.file)) == made.train_twins


def test_a_users_own_goes_before_it_and_new_copies_it_to_be_edited():
    new("tenancy")
    own = Path("policies/tenancy")
    assert read_policy("tenancy").file == own / "policy.yaml"
    assert (own / "policy.yaml").read_bytes() == (SHIPPED / "tenancy.yaml").read_bytes()
    edit(own, "name: Unlawful Eviction and Harassment", "name: Eviction")
    assert load_pack(str(compile_policy("tenancy").pack)).hazards["unlawful_eviction"].name == "Eviction"
