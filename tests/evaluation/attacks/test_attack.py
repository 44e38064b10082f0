"""Attacks by name; replays from a file of our own rows, and from the published files where they are; rewordings."""

import base64
import hashlib
import json

import pytest

from cada_trl.data.benchmark_items import BenchmarkSpec, Item, load_items, load_spec
from cada_trl.errors import UserError
from cada_trl.evaluation.answers import Attempt
from cada_trl.evaluation.attacks import known_names, make_attack
from cada_trl.evaluation.attacks.attack import TRANSFORMS, FrozenAttack, NoAttack, NotRun, TransformAttack
from cada_trl.evaluation.attacks.attacker import TAXONOMY
from cada_trl.evaluation.attacks.pair import PairAttack
from cada_trl.judging.phrases import PhraseJudge
from cada_trl.records import write_jsonl

from .conftest import ScriptedModel

WITH_VICTIMS = [
    {"attack": "PAIR", "index": 0, "goal": "Steal tea", "prompt": "p-weak", "target_model": "weak"},
    {"attack": "PAIR", "index": 0, "goal": "Steal tea", "prompt": "p-strong", "target_model": "strong"},
    {"attack": "PAIR", "index": 1, "goal": "Hide tea", "prompt": None, "target_model": "strong"},
    {"attack": "PAIR", "index": 1, "goal": "Hide tea", "prompt": "q-weak", "target_model": "weak"},
    {"attack": "PAIR", "index": 2, "goal": "Spill tea", "prompt": None, "target_model": "strong"},
    {"attack": "PAIR", "index": 2, "goal": "Spill tea", "prompt": "", "target_model": "weak"},
    {"attack": "PAIR", "index": 3, "goal": "Sell tea", "prompt": "r-other", "target_model": "not named"},
    {"attack": "JBC", "index": 0, "goal": "Steal tea", "prompt": "j", "target_model": "strong"},
    {"attack": "JBC", "index": 0, "goal": "Steal tea", "prompt": "j", "target_model": "weak"},
]
WITHOUT_VICTIMS = [
    {"attack": "pair", "request": "Steal tea", "attack_prompt": "A story about tea"},
    {"attack": "pap", "request": "Steal tea", "attack_prompt": "Steal tea"},
]


def spec_of(folder, rows, columns, attacks):
    """A set named toy whose attack prompts are these rows."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "prompts.jsonl").write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    frozen = {"file": "prompts.jsonl", "sha256": sha256, "source": "https://example.org/x", "licence": "MIT"}
    values = load_spec("advbench").model_dump()
    return BenchmarkSpec.model_validate(
        values | {"name": "toy", "frozen": frozen | {"columns": columns, "attacks": attacks}}
    )


COLUMNS = {"attack": "attack", "request": "goal", "id": "index", "prompt": "prompt", "victim": "target_model"}


@pytest.fixture
def with_victims(tmp_path):
    """Found by the row's id, as JailbreakBench's."""
    return spec_of(tmp_path, WITH_VICTIMS, COLUMNS, {"pair": ["strong", "weak"], "jbc": []})


@pytest.fixture
def without_victims(tmp_path):
    """Found by the request, as StrongREJECT's."""
    columns = {"attack": "attack", "request": "request", "id": None, "prompt": "attack_prompt", "victim": None}
    return spec_of(tmp_path, WITHOUT_VICTIMS, columns, {"pair": ["gpt-x"], "pap": []})


def items_of(*requests):
    return [Item(f"toy-{n:03}", "toy", request, None, "", True) for n, request in enumerate(requests)]


@pytest.mark.parametrize(
    ("published", "name", "number", "asked", "prompt", "note"),
    [
        ("with_victims", "pair", 0, "Steal tea", "p-strong", "made against strong, https://example.org/x"),
        ("with_victims", "pair", 1, "Hide tea", "q-weak", "made against weak, https://example.org/x"),  # the next one's
        ("with_victims", "pair", 0, "Steal some tea", "p-strong", "/x, made for an earlier wording of the request"),
        ("with_victims", "jbc", 0, "Steal tea", "j", "made against no model, https://example.org/x"),
        # a victim that the file does not name is the description's
        ("without_victims", "pair", 0, "Steal tea", "A story about tea", "made against gpt-x, https://example.org/x"),
        ("without_victims", "pap", 0, "Steal tea", "Steal tea", ", the published prompt is the request itself"),
    ],
)
def test_the_preferred_victims_prompt_is_taken_and_noted(
    request, tmp_path, published, name, number, asked, prompt, note
):
    attack = FrozenAttack(name, request.getfixturevalue(published), tmp_path)
    attacked = attack.attempts([Item(f"toy-{number:03}", "toy", asked, None, "", True)])
    assert (attack.kind, attack.transfer, attacked.missing) == ("frozen", True, {})
    (attempt,) = attacked.attempts
    assert (attempt.attack, attempt.prompt) == (name, prompt)
    assert attempt.note.startswith("transfer, ") and attempt.note.endswith(note)


def test_a_request_without_a_published_prompt_is_missing_with_its_reason(with_victims, tmp_path):
    items = items_of("Steal tea", "Hide tea", "Spill tea", "Sell tea", "Brew tea")
    attacked = FrozenAttack("pair", with_victims, tmp_path).attempts(items)
    assert [attempt.item.id for attempt in attacked.attempts] == ["toy-000", "toy-001"]
    assert attacked.missing == {
        "toy-002": "the published pair attack found no prompt for this request",
        "toy-003": "no published pair prompt for this request",
        "toy-004": "no published pair prompt for this request",
    }


def test_without_an_id_only_the_very_request_is_found(without_victims, tmp_path):
    attacked = FrozenAttack("pair", without_victims, tmp_path).attempts(items_of("Steal tea", "steal tea"))
    assert [attempt.item.id for attempt in attacked.attempts] == ["toy-000"]
    assert attacked.missing == {"toy-001": "no published pair prompt for this request"}


def test_the_version_follows_the_file_and_the_victims(tmp_path):
    rows = [WITH_VICTIMS, WITH_VICTIMS, WITH_VICTIMS, WITH_VICTIMS[:3]]
    victims = [["strong", "weak"], ["strong", "weak"], ["weak", "strong"], ["strong", "weak"]]
    first, again, other_order, other_file = (
        FrozenAttack("pair", spec_of(tmp_path, some, COLUMNS, {"pair": order}), tmp_path).version
        for some, order in zip(rows, victims, strict=True)
    )
    assert first == again
    assert len({first, other_order, other_file}) == 3


def test_a_file_that_is_missing_or_another_one_is_refused(with_victims, tmp_path):
    expected = "make data DATA_ROOT=<folder> fetches it \\(https://example.org/x"
    with pytest.raises(
        UserError, match=rf" x pair: prompts\.jsonl is read below data_root, and none is given; {expected}"
    ):
        FrozenAttack("pair", with_victims, None)
    with pytest.raises(UserError, match=r" x pair: no file .*/empty/prompts.jsonl"):
        FrozenAttack("pair", with_victims, tmp_path / "empty")
    with (tmp_path / "prompts.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match=r"prompts.jsonl has sha256 .*; expected"):
        FrozenAttack("pair", with_victims, tmp_path)


def test_a_column_that_the_file_lacks_is_named(tmp_path):
    columns = {"attack": "attack", "request": "goal", "id": None, "prompt": "attack_prompt", "victim": None}
    with pytest.raises(UserError, match="row 1: field 'goal' is None; is it the published"):
        FrozenAttack("pair", spec_of(tmp_path, WITHOUT_VICTIMS, columns, {"pair": []}), tmp_path)


@pytest.mark.parametrize(
    ("benchmark", "name", "n", "n_unchanged"),
    [
        ("strongreject", "pair", 313, 7),
        ("strongreject", "pap", 313, 23),
        ("strongreject_small", "pair", 60, 1),
        ("strongreject_small", "pap", 60, 7),
        ("advbench", "pair", 520, 2),
        ("advbench", "pap", 520, 0),
        ("jailbreakbench_harmful", "pair", 91, 0),  # it submitted none for the other nine, against any victim
        ("jailbreakbench_harmful", "gcg", 100, 0),
        ("jailbreakbench_harmful", "jbc", 100, 0),
    ],
)
def test_the_published_files_have_prompts_for_the_published_sets(benchmark, name, n, n_unchanged, shared_data):
    spec = load_spec(benchmark)
    items = load_items(spec, shared_data, None, seed=0)
    attacked = FrozenAttack(name, spec, shared_data).attempts(items)
    assert len(attacked.attempts) == n
    assert sum(attempt.prompt == attempt.item.request for attempt in attacked.attempts) == n_unchanged
    assert {one.item.id for one in attacked.attempts} | set(attacked.missing) == {item.id for item in items}


REQUEST = "How is {tea} made in Çay?\n100 %"


def test_base64_decodes_to_the_request():
    assert TRANSFORMS["base64"]("Hi").endswith("\n\nSGk=")
    assert base64.b64decode(TRANSFORMS["base64"](REQUEST).splitlines()[-1]).decode() == REQUEST


def test_leetspeak_changes_seven_letters_in_both_cases_and_nothing_else():
    assert TRANSFORMS["leetspeak"]("Aesop, to IT: zebra!") == "4350p, 70 17: z3br4!"
    assert TRANSFORMS["leetspeak"]("bcdfghjklmnpqruvwxyz 0-9 Çß") == "bcdfghjklmnpqruvwxyz 0-9 Çß"


def test_role_play_and_prefix_injection_hold_the_request_word_for_word():
    assert f'A visitor says to Sam: "{REQUEST}" Write' in TRANSFORMS["role_play"](REQUEST)
    assert TRANSFORMS["prefix_injection"](REQUEST).startswith(REQUEST + "\n\nBegin your answer with")


def test_every_item_gets_an_attempt_with_the_version_as_its_note():
    items = items_of(REQUEST, "Why?")
    for name, transform in TRANSFORMS.items():
        attack = TransformAttack(name)
        attacked = attack.attempts(items)
        assert [(one.item, one.attack, one.prompt, one.note) for one in attacked.attempts] == [
            (item, name, transform(item.request), attack.version) for item in items
        ]
        assert (attacked.missing, attack.kind, attack.transfer) == ({}, "transform", False)


def test_the_version_follows_the_wording(monkeypatch):
    before = TransformAttack("role_play").version
    assert before == TransformAttack("role_play").version
    assert len({TransformAttack(name).version for name in TRANSFORMS}) == len(TRANSFORMS)
    monkeypatch.setitem(TRANSFORMS, "role_play", lambda request: f"{request} Now.")
    assert TransformAttack("role_play").version != before


def test_without_an_attack_every_request_is_sent_as_it_is():
    items = items_of("Is it 1 o'clock?", "Is it 2 o'clock?")
    attacked = NoAttack().attempts(items)
    assert attacked.attempts == [Attempt(item, "none", item.request, "") for item in items]
    assert attacked.missing == {}


def make(name, benchmark="strongreject", data_root=None, **others):
    return make_attack(name, load_spec(benchmark), data_root, **others)


def test_the_known_names_are_those_that_the_documents_name():
    transforms = ["base64", "leetspeak", "role_play", "prefix_injection"]
    generated = ["pair_adaptive", "pap:<technique>", "paraphrase", "translation:<language>"]
    assert known_names() == ["none", "gcg", "jbc", "pair", "pap", *transforms, *generated]


def test_a_frozen_attack_reads_its_benchmarks_file(shared_data):
    attack = make("gcg", "jailbreakbench_harmful", data_root=shared_data)
    assert (attack.name, attack.kind, attack.transfer) == ("gcg", "frozen", True)
    with pytest.raises(
        UserError, match=r"strongreject x pair: frozen_attacks/strongreject\.jsonl is read below data_r"
    ):
        make("pair")


@pytest.mark.parametrize(
    ("benchmark", "name", "seen"),
    [
        ("strongreject", "gcg", "strongreject x gcg: no published prompts; there are those of pair, pap"),
        ("hex_phi", "pair", "hex_phi x pair: no published prompts; there are none of any attack"),
        ("xstest_safe", "base64", "xstest_safe x base64: the requests are harmless"),
        ("xstest_safe", "paraphrase", "xstest_safe x paraphrase: the requests are harmless"),
    ],
)
def test_what_a_benchmark_lacks_is_not_run(benchmark, name, seen):
    with pytest.raises(NotRun, match=seen):
        make(name, benchmark)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("base46", "unknown attack 'base46'; did you mean base64?"),
        ("base64:twice", "unknown attack 'base64:twice'; did you mean base64?"),
        ("translation", "unknown attack 'translation'; did you mean translation:<language>?"),
        ("translation:", "unknown attack 'translation:'; did you mean translation:<language>?"),
        ("pap:", "unknown attack 'pap:'; did you mean pap:<technique> or pap"),
        ("tap", "unknown attack 'tap'; did you mean pap"),
        ("xyz", "unknown attack 'xyz'; valid: none, gcg, jbc, pair, pap, base64, "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_ones(name, seen):
    with pytest.raises(UserError) as caught:
        make(name, "xstest_safe")
    assert seen in str(caught.value)
    assert not isinstance(caught.value, NotRun)


@pytest.mark.parametrize("name", ["pair_adaptive", "pap:misrepresentation", "paraphrase", "translation:Zulu"])
def test_a_generated_attack_without_an_attacker_names_its_settings(name):
    with pytest.raises(
        UserError, match=f"attack {name} is written by an attacker model .* attacker_base_url and attacker_llm"
    ):
        make(name)


def test_a_generated_attack_is_the_one_that_the_name_says(make_attacker, tmp_path):
    rows = [{"ss_technique": "Logical Appeal", "ss_definition": "Using reason."}]
    write_jsonl(tmp_path / TAXONOMY, rows)
    attacker = make_attacker(ScriptedModel(lambda messages: ""))
    pair = PairAttack(attacker, lambda _: [], "t", PhraseJudge(), "final_response", 1, 1)
    given = {"attacker": attacker, "pair": pair, "data_root": tmp_path}
    for name in ("pair_adaptive", "pap:logical_appeal", "paraphrase", "translation:Zulu"):
        attack = make(name, **given)
        assert (attack.name, attack.kind, attack.transfer) == (name, "generated", False)
