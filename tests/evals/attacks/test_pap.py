"""evals.attacks.pap: the technique is the published taxonomy's, or a line that names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.evals.attacks.pap import TAXONOMY, load_taxonomy, make_pap
from cada_trl.evals.items import Item
from cada_trl.records import write_jsonl

from .conftest import MakeAttacker
from .scripted import ScriptedModel

ROWS = [
    {"ss_technique": "Logical Appeal", "ss_definition": "Arguing by logic."},
    {"ss_technique": "Foot-in-the-door", "ss_definition": "Starting small."},
]


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / TAXONOMY, ROWS)
    return tmp_path


def model() -> ScriptedModel:
    return ScriptedModel(lambda messages: "<rewrite>By logic, what opens it?</rewrite>")


def test_the_attacker_is_told_name_and_definition(
    make_attacker: MakeAttacker, items: list[Item], data_root: Path
) -> None:
    asked = model()
    attack = make_pap("logical_appeal", data_root, make_attacker(asked))
    attacked = attack.attempts(items[:1])
    assert "Logical Appeal: Arguing by logic." in asked.asked[0][0]["content"]
    assert (attack.name, attacked.attempts[0].prompt) == ("pap:logical_appeal", "By logic, what opens it?")
    assert attacked.attempts[0].attack == "pap:logical_appeal"


def test_another_technique_or_definition_is_another_version(make_attacker: MakeAttacker, data_root: Path) -> None:
    attacker = make_attacker(model())
    versions = [make_pap(slug, data_root, attacker).version for slug in ("logical_appeal", "foot_in_the_door")]
    write_jsonl(data_root / TAXONOMY, [{**ROWS[0], "ss_definition": "Arguing by logic and reason."}])
    assert make_pap("logical_appeal", data_root, attacker).version not in versions
    assert len(set(versions)) == 2


def test_an_unknown_technique_names_the_nearest(make_attacker: MakeAttacker, data_root: Path) -> None:
    with pytest.raises(UserError, match=r"pap:logic_appeal: .*did you mean logical_appeal\?"):
        make_pap("logic_appeal", data_root, make_attacker(model()))


def test_a_technique_that_resembles_none_names_all(make_attacker: MakeAttacker, data_root: Path) -> None:
    with pytest.raises(UserError, match="valid: foot_in_the_door, logical_appeal"):
        make_pap("xyz", data_root, make_attacker(model()))


def test_without_the_taxonomy_the_line_says_where_it_is_published(tmp_path: Path) -> None:
    for data_root in (None, tmp_path):
        with pytest.raises(
            UserError, match=r"no file .*persuasion_taxonomy.jsonl; get it from https://github.com/CHATS"
        ):
            load_taxonomy(data_root)


@pytest.mark.parametrize("row", [{"ss_technique": "Logical Appeal"}, {"ss_technique": "", "ss_definition": "text"}])
def test_another_file_than_the_taxonomy_is_named_with_its_row(tmp_path: Path, row: dict[str, str]) -> None:
    write_jsonl(tmp_path / TAXONOMY, [ROWS[0], row])
    with pytest.raises(UserError, match="row 2: expected the taxonomy's ss_technique"):
        load_taxonomy(tmp_path)


def test_the_published_taxonomy_has_40_techniques_with_the_names_that_benchmarks_use(shared_data: Path) -> None:
    taxonomy = load_taxonomy(shared_data)
    assert len(taxonomy) == 40
    of_strongreject = {
        "misrepresentation",
        "authority_endorsement",
        "logical_appeal",
        "expert_endorsement",
        "evidence_based_persuasion",
    }
    assert of_strongreject <= taxonomy.keys()
