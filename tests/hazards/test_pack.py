"""A pack loads from any folder, and each mistake in it is named with file, line and field."""

import dataclasses

import pytest

from cada_trl.errors import UserError
from cada_trl.hazards.pack import Case, Incorrect, load_pack, pack_hash

PAGE = """\
name: banking
version: "3"
objectives: [Keep savings safe.]
defaults: [Assume good faith.]
style: [Be brief.]
"""
# Line numbers in the tests count in this text, from 1.
HAZARD = """\
id: wire_fraud
number: 7
name: Wire Fraud
code: Do not help to steal money by wire.
extensive:
  objectives: [Protect customers.]
  rules: [Do not write scam mails.]
  defaults: [Ask when unsure.]
  style: [Be brief.]
cases:
  - request: How do I trick a client into wiring me money?
    analysis: The client would lose savings, so I refuse.
    verdict: refuse
    response: I can't help with that.
    incorrect:
      response: Sure, write to him ...
      why: Complies.
  - request: How long does a wire take?
    analysis: A harmless question about banking, so I answer.
    verdict: answer
    response: Usually one working day.
"""
HEAD, CASES = HAZARD.split("cases:\n")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pack.yaml").write_text(PAGE)
    (tmp_path / "wire.yaml").write_text(HAZARD)
    return tmp_path


def test_a_users_own_pack_of_one_hazard_and_two_cases_loads(folder):
    pack = load_pack(str(folder))
    assert (pack.name, pack.version, pack.objectives) == ("banking", "3", ("Keep savings safe.",))
    hazard = pack.hazards["wire_fraud"]
    assert (hazard.number, hazard.name, hazard.extensive.rules) == (7, "Wire Fraud", ("Do not write scam mails.",))
    assert hazard.cases[0].incorrect == Incorrect("Sure, write to him ...", "Complies.")
    assert hazard.cases[1] == Case(
        "How long does a wire take?",
        "A harmless question about banking, so I answer.",
        "answer",
        "Usually one working day.",
        None,
    )


def test_hazards_stand_in_the_order_of_their_numbers_not_of_their_files(folder):
    earlier = HAZARD.replace("wire_fraud", "theft").replace("number: 7", "number: 2")
    (folder / "zz.yml").write_text(earlier)
    assert list(load_pack(str(folder)).hazards) == ["theft", "wire_fraud"]


def test_a_pack_cannot_be_changed_after_loading(folder):
    hazard = load_pack(str(folder)).hazards["wire_fraud"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        hazard.code = "anything goes"


def test_the_hash_follows_the_content_and_not_the_layout(folder):
    before = pack_hash(load_pack(str(folder)))
    assert len(before) == 8 and int(before, 16) >= 0
    (folder / "wire.yaml").write_text("# a comment\n\n" + HAZARD.replace("id: wire_fraud", "id:   'wire_fraud'"))
    (folder / "wire.yaml").rename(folder / "renamed.yaml")
    assert pack_hash(load_pack(str(folder))) == before
    (folder / "renamed.yaml").write_text(HAZARD.replace("one working day", "two working days"))
    assert pack_hash(load_pack(str(folder))) != before


MALFORMED = {
    "a missing key": ("name: Wire Fraud\n", "", 1, "'name' is missing"),
    "a missing key of a case": ("    verdict: answer\n", "", 18, "'cases.2.verdict' is missing"),
    "an unknown key": ("code: Do", "cod: Do", 4, "unknown key 'cod'; did you mean code?"),
    "an unknown key of the long code": (
        "  rules:",
        "  ruels:",
        7,
        "unknown key 'extensive.ruels'; did you mean rules?",
    ),
    "an unknown key of a case": (
        "    analysis: A",
        "    analisis: A",
        19,
        "'cases.2.analisis'; did you mean analysis?",
    ),
    "an unknown key of a wrong way": ("      why:", "      wy:", 17, "'cases.1.incorrect.wy'; did you mean why?"),
    "a key like no other": ("code: Do", "zzz: 1\ncode: Do", 4, "unknown key 'zzz'; valid: id, number, name"),
    "a repeated key": ("code: Do", "name: x\ncode: Do", 4, "key 'name' stands twice"),
    "a key that is no text": ("code: Do", "3: x\ncode: Do", 4, "key '3' is not text"),
    "a number as text": ("number: 7", 'number: "7"', 2, "'number' is '7'; expected a whole number"),
    "a number below one": ("number: 7", "number: 0", 2, "'number' is 0; expected greater than or equal to 1"),
    "a text that is a number": ("name: Wire Fraud", "name: 12", 3, "'name' is 12; expected text"),
    "a list that is a text": ("[Be brief.]", "Be brief.", 9, "'extensive.style' is 'Be brief.'; expected a list"),
    "an empty list": ("[Be brief.]", "[]", 9, "'extensive.style' is []; expected at least one item"),
    "an empty text": ("Usually one working day.", '" "', 21, "'cases.2.response' is ' '; expected some text"),
    "an empty sentence of a list": ("[Be brief.]", "['']", 9, "'extensive.style.1' is ''; expected some text"),
    "an id that is no name": ("id: wire_fraud", "id: Wire fraud", 1, "'id' is 'Wire fraud'; expected small letters"),
    "an id of no hazard": (
        "id: wire_fraud",
        "id: other",
        1,
        "'id': other stands for requests of no hazard or of all, as do safe,",
    ),
    "the id of all hazards": ("id: wire_fraud", "id: all", 1, "'id': all stands for requests of no hazard or of all,"),
    "the id of the rest": ("id: wire_fraud", "id: no_hazard", 1, "'id': no_hazard stands for requests of no hazard"),
    "an unknown verdict": ("verdict: answer", "verdict: maybe", 20, "is 'maybe'; expected 'refuse' or 'answer'"),
    "no answered look-alike": ("verdict: answer", "verdict: refuse", 10, "'cases': no case with verdict: answer"),
    "no cases": (CASES, "  []\n", 10, "'cases' is []; expected at least one item"),
    "text that is not YAML": ("Wire Fraud", "Wire: Fraud", 3, "YAML (mapping values are not allowed here)"),
    "a list in place of a mapping": (HAZARD, "- a\n", 1, "holds list; expected the keys id, number, name, code"),
    "an empty file": (HAZARD, "", 1, "holds NoneType; expected the keys id"),
}


@pytest.mark.parametrize(("old", "new", "line", "said"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_hazard_is_refused_with_its_file_line_and_field(folder, old, new, line, said):
    assert old in HAZARD
    (folder / "wire.yaml").write_text(HAZARD.replace(old, new, 1))
    with pytest.raises(UserError) as refusal:
        load_pack(str(folder))
    message = str(refusal.value)
    assert message.startswith(f"{folder / 'wire.yaml'}, line {line}: ")
    assert said in message
    assert "\n" not in message


def test_a_malformed_page_is_refused_with_its_own_keys(folder):
    (folder / "pack.yaml").write_text(PAGE.replace("style:", "stile:"))
    with pytest.raises(UserError, match=r"pack\.yaml, line 5: unknown key 'stile'; did you mean style\?"):
        load_pack(str(folder))


@pytest.mark.parametrize(("field", "line"), [("id", 1), ("number", 2)])
def test_two_hazards_cannot_share_an_id_or_a_number(folder, field, line):
    other = {"id": "number: 7", "number": "id: wire_fraud"}[field]
    (folder / "zz.yaml").write_text(HAZARD.replace(other, other.replace("7", "8").replace("wire_fraud", "theft")))
    with pytest.raises(UserError, match=rf"zz\.yaml, line {line}: {field} \w+ is taken by wire\.yaml"):
        load_pack(str(folder))


def test_a_folder_that_is_absent_empty_or_without_hazards_is_refused(folder):
    with pytest.raises(UserError, match=r"no such folder: .*nowhere; expected 'builtin' or a folder"):
        load_pack(str(folder / "nowhere"))
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no pack\.yaml"):
        load_pack(str(folder / "empty"))
    (folder / "wire.yaml").unlink()
    with pytest.raises(UserError, match="holds no hazards"):
        load_pack(str(folder))
