from __future__ import annotations

import base64

import pytest

from cada_trl.evals.attacks.transforms import (
    TRANSFORMS,
    TransformAttack,
    encode_base64,
    inject_a_prefix,
    put_into_a_role,
    write_leetspeak,
)
from cada_trl.evals.items import Item

REQUEST = "How is {tea} made in Çay?\n100 %"


def test_base64_decodes_to_the_request() -> None:
    assert encode_base64("Hi").endswith("\n\nSGk=")
    assert base64.b64decode(encode_base64(REQUEST).splitlines()[-1]).decode() == REQUEST


def test_leetspeak_changes_seven_letters_in_both_cases_and_nothing_else() -> None:
    assert write_leetspeak("Aesop, to IT: zebra!") == "4350p, 70 17: z3br4!"
    assert write_leetspeak("bcdfghjklmnpqruvwxyz 0-9 Çß") == "bcdfghjklmnpqruvwxyz 0-9 Çß"


def test_role_play_and_prefix_injection_hold_the_request_word_for_word() -> None:
    assert f'A visitor says to Sam: "{REQUEST}" Write' in put_into_a_role(REQUEST)
    assert inject_a_prefix(REQUEST).startswith(REQUEST + "\n\nBegin your answer with")


def test_every_item_gets_an_attempt_with_the_version_as_its_note() -> None:
    items = [Item(f"toy-{n}", "toy", text, None, "", True) for n, text in enumerate([REQUEST, "Why?"])]
    for name, transform in TRANSFORMS.items():
        attack = TransformAttack(name)
        attacked = attack.attempts(items)
        assert [(one.item, one.attack, one.prompt, one.note) for one in attacked.attempts] == [
            (item, name, transform(item.request), attack.version) for item in items
        ]
        assert (attacked.missing, attack.kind, attack.transfer) == ({}, "transform", False)


def test_the_version_follows_the_wording(monkeypatch: pytest.MonkeyPatch) -> None:
    before = TransformAttack("role_play").version
    assert before == TransformAttack("role_play").version
    assert len({TransformAttack(name).version for name in TRANSFORMS}) == len(TRANSFORMS)
    monkeypatch.setitem(TRANSFORMS, "role_play", lambda request: put_into_a_role(request) + " Now.")
    assert TransformAttack("role_play").version != before
