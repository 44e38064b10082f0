from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cada_trl.data.benchmark_items import load_spec
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks.attack import TRANSFORMS, Attack, NotRun
from cada_trl.evaluation.attacks.pair import PairAttack
from cada_trl.evaluation.attacks.registry import known_names, make_attack
from cada_trl.judging.phrases import PhraseJudge


def make(name: str, benchmark: str = "strongreject", data_root: Path | None = None, **others: Any) -> Attack:
    return make_attack(name, load_spec(benchmark), data_root, **others)


def test_importing_the_registry_imports_neither_torch_nor_a_client() -> None:
    code = "import sys, cada_trl.evaluation.attacks.registry; sys.exit(bool({'torch', 'openai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_known_names_are_those_that_the_documents_name() -> None:
    transforms = ["base64", "leetspeak", "role_play", "prefix_injection"]
    generated = ["pair_adaptive", "pap:<technique>", "paraphrase", "translation:<language>"]
    assert known_names() == ["none", "gcg", "jbc", "pair", "pap", *transforms, *generated]


def test_none_and_the_transforms_need_nothing() -> None:
    assert make("none").kind == "none"
    for name in TRANSFORMS:
        attack = make(name)
        assert (attack.name, attack.kind, attack.transfer) == (name, "transform", False)


def test_a_frozen_attack_reads_its_benchmarks_file(shared_data: Path) -> None:
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
def test_what_a_benchmark_lacks_is_not_run(benchmark: str, name: str, seen: str) -> None:
    with pytest.raises(NotRun, match=seen):
        make(name, benchmark)


def test_a_harmless_benchmark_is_asked_without_an_attack() -> None:
    assert make("none", "xstest_safe").name == "none"


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
def test_an_unknown_name_is_answered_with_the_nearest_ones(name: str, seen: str) -> None:
    with pytest.raises(UserError) as caught:
        make(name, "xstest_safe")
    assert seen in str(caught.value)
    assert not isinstance(caught.value, NotRun)


@pytest.mark.parametrize("name", ["pair_adaptive", "pap:misrepresentation", "paraphrase", "translation:Zulu"])
def test_a_generated_attack_without_an_attacker_names_its_settings(name: str) -> None:
    with pytest.raises(
        UserError, match=f"attack {name} is written by an attacker model .* attacker_base_url and attacker_llm"
    ):
        make(name)


def test_a_generated_attack_is_the_one_that_the_name_says(make_attacker: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "pap").mkdir()
    (tmp_path / "pap" / "persuasion_taxonomy.jsonl").write_text(
        '{"ss_technique": "Logical Appeal", "ss_definition": "Using reason."}\n'
    )
    pair = partial(
        PairAttack,
        target=lambda _: [],
        target_id="t",
        judge=PhraseJudge(),
        sees="final_response",
        n_streams=1,
        n_iterations=1,
    )
    given = {"attacker": make_attacker(None), "pair": pair, "data_root": tmp_path}
    for name in ("pair_adaptive", "pap:logical_appeal", "paraphrase", "translation:Zulu"):
        attack = make(name, **given)
        assert (attack.name, attack.kind, attack.transfer) == (name, "generated", False)
    with pytest.raises(UserError, match="did you mean logical_appeal"):
        make("pap:logic_appeal", **given)
