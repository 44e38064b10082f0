from __future__ import annotations

import pytest

from cada_trl.config import Config, check_config, config_hash, load_config
from cada_trl.config.loading import leaf_paths
from cada_trl.report.differences import (
    ABSENT,
    RUN_KEYS,
    Difference,
    Meaning,
    config_differences,
    differences,
    manifest_differences,
    meaning_of,
    shared_facts,
    unsure_code,
)


def changed(config: Config, path: str) -> Config:
    """The configuration with another value, of whatever kind, at a dotted path."""
    section, _, leaf = path.rpartition(".")
    if not section:
        return config.model_copy(update={leaf: "changed"})
    return config.model_copy(update={section: getattr(config, section).model_copy(update={leaf: "changed"})})


def test_nested_keys_are_compared_by_their_dotted_path() -> None:
    a, b = {"x": {"y": 1, "z": 2}, "only_a": 0}, {"x": {"y": 1, "z": 3}, "only_b": None}
    assert differences(a, b, {"": Meaning.RESULT, "x": Meaning.PLACE}) == [
        Difference("x.z", 2, 3, Meaning.PLACE),
        Difference("only_a", 0, ABSENT, Meaning.RESULT),
        Difference("only_b", ABSENT, None, Meaning.RESULT),
    ]


def test_the_longest_prefix_that_ends_at_a_dot_says_what_a_key_means() -> None:
    meanings = {"": Meaning.RESULT, "tracking": Meaning.WRITTEN, "tracking.probe_batch": Meaning.MEASURED}
    assert meaning_of("tracking.probe_batch", meanings) is Meaning.MEASURED
    assert meaning_of("tracking.wandb", meanings) is Meaning.WRITTEN
    assert meaning_of("tracking_other", meanings) is Meaning.RESULT


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_key_decides_the_result_exactly_where_it_changes_the_config_hash() -> None:
    config = load_config([])
    paths = set(leaf_paths(Config).values())
    hashed = {path for path in paths if config_hash(changed(config, path)) != config_hash(config)}
    assert hashed == {path for path in paths if meaning_of(path, RUN_KEYS) is Meaning.RESULT}


def test_what_decides_the_result_stands_first() -> None:
    a, b = (check_config(load_config(words).model_dump()) for words in (["seed=0"], ["seed=1", "beta_kl=0.5"]))
    found = config_differences(a.model_dump(), b.model_dump(), RUN_KEYS)
    assert [(one.what, one.a, one.b) for one in found] == [("algo.beta_kl", 0.01, 0.5), ("seed", 0, 1)]


def test_times_and_names_are_no_origin_and_a_hash_is_named_in_words() -> None:
    a = {"started_utc": "1", "run_name": "a", "template_hash": "t1", "packages": {"torch": "1"}, "reference_hash": None}
    b = {"started_utc": "2", "run_name": "b", "template_hash": "t2", "packages": {"torch": "2"}, "targets": {"kept": 3}}
    assert [(one.what, one.a, one.b, one.meaning) for one in manifest_differences(a, b)] == [
        ("chat template", "t1", "t2", Meaning.RESULT),
        ("targets.kept", ABSENT, 3, Meaning.RESULT),
        ("packages.torch", "1", "2", Meaning.CODE),
    ]


def test_a_fact_that_one_side_lacks_is_neither_the_same_nor_different() -> None:
    a, b = {"judge_id": "phrases-1", "template_hash": None}, {"judge_id": "phrases-1", "template_hash": "t"}
    assert shared_facts(a, b, ("judge_id", "template_hash")) == (["judge"], ["chat template"])


def test_a_dirty_checkout_or_none_leaves_the_code_unknown() -> None:
    clean = {"git": {"commit": "c", "dirty": False}}
    assert not unsure_code(clean, clean)
    assert unsure_code(clean, {"git": {"commit": "c", "dirty": True}})
    assert unsure_code(clean, {"git": None})
