import pytest

from cada_trl.config import Config, config_hash, load_config
from cada_trl.config.loading import leaf_paths
from cada_trl.errors import UserError
from cada_trl.records import write_jsonl
from cada_trl.report.differences import (
    ABSENT,
    EVALUATION_KEYS,
    EVALUATION_MANIFEST,
    RUN_KEYS,
    RUN_MANIFEST,
    Difference,
    Meaning,
    Parting,
    asked_ids,
    differences,
    manifest_differences,
    meaning_of,
    parting,
    shared_facts,
    text_difference,
    unsure_code,
)
from cada_trl.report.run_record import RunRecord


def changed(config, path):
    """The configuration with another value, of whatever kind, at a dotted path."""
    section, _, leaf = path.rpartition(".")
    if not section:
        return config.model_copy(update={leaf: "changed"})
    return config.model_copy(update={section: getattr(config, section).model_copy(update={leaf: "changed"})})


def test_keys_are_compared_by_their_dotted_path_and_what_decides_the_result_stands_first():
    a, b = {"x": {"y": 1, "z": 2}, "only_a": 0}, {"x": {"y": 1, "z": 3}, "only_b": None, "x_other": 1}
    assert differences(a, b, {"": Meaning.RESULT, "x": Meaning.WRITTEN, "x.z": Meaning.PLACE}) == [
        Difference("only_a", 0, ABSENT, Meaning.RESULT),
        Difference("only_b", ABSENT, None, Meaning.RESULT),
        Difference("x_other", ABSENT, 1, Meaning.RESULT),  # a prefix ends at a dot
        Difference("x.z", 2, 3, Meaning.PLACE),  # the longest one
    ]


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_key_decides_the_result_exactly_where_it_changes_the_config_hash():
    config = load_config([])
    paths = set(leaf_paths(Config).values())
    hashed = {path for path in paths if config_hash(changed(config, path)) != config_hash(config)}
    assert hashed == {path for path in paths if meaning_of(path, RUN_KEYS) is Meaning.RESULT}


def test_times_and_names_are_no_origin_and_a_hash_is_named_in_words():
    a = {"started_utc": "1", "run_name": "a", "template_hash": "t1", "packages": {"torch": "1"}, "reference_hash": None}
    b = {"started_utc": "2", "run_name": "b", "template_hash": "t2", "packages": {"torch": "2"}, "targets": {"kept": 3}}
    assert [(one.what, one.a, one.b, one.meaning) for one in manifest_differences(a, b, RUN_MANIFEST)] == [
        ("chat template", "t1", "t2", Meaning.RESULT),
        ("targets.kept", ABSENT, 3, Meaning.RESULT),
        ("packages.torch", "1", "2", Meaning.CODE),
    ]


def test_another_judge_is_how_an_evaluation_measured_and_what_a_run_learned():
    a, b = {"judge_id": "phrases-1"}, {"judge_id": "classifier-1"}
    meanings = [manifest_differences(a, b, keys)[0].meaning for keys in (RUN_MANIFEST, EVALUATION_MANIFEST)]
    assert meanings == [Meaning.RESULT, Meaning.MEASURED]


def test_how_long_a_judge_is_waited_for_decides_no_verdict_and_a_card_no_training():
    keys = ("judge.timeout_s", "judge.max_calls", "attacker.attacker_max_retries", "judge.llm")
    assert [meaning_of(key, EVALUATION_KEYS) for key in keys] == [*[Meaning.PLACE] * 3, Meaning.MEASURED]
    assert manifest_differences({"card": {"layer": 3}}, {"card": None}, RUN_MANIFEST) == []


def test_a_fact_that_one_side_lacks_is_neither_the_same_nor_different():
    a, b = {"judge_id": "phrases-1", "template_hash": None}, {"judge_id": "phrases-1", "template_hash": "t"}
    assert shared_facts(a, b, ("judge_id", "template_hash")) == (["judge"], ["chat template"])


def test_a_dirty_checkout_or_none_leaves_the_code_unknown():
    clean = {"git": {"commit": "c", "dirty": False}}
    assert not unsure_code(clean, clean)
    assert unsure_code(clean, {"git": {"commit": "c", "dirty": True}})
    assert unsure_code(clean, {"git": None})


def sample(request_id, completion="I can't help.", reward=0.0, **changes):
    row = {"request_id": request_id, "request": f"text of {request_id}", "completion": completion, "reward": reward}
    return {**row, "prompt_arm": "cases", "verdict": "REFUSED", **changes}


def run(path, steps, samples=None):
    for step, rows in enumerate(samples or [], start=1):
        write_jsonl(path / "completions" / f"step_{step:06d}.jsonl", rows)
    numbered = [{"step": step, **row} for step, row in enumerate(steps, start=1)]
    return RunRecord(path, {}, {}, numbered, [], [], [])


def two(tmp_path, a, b):
    return run(tmp_path / "a", *a), run(tmp_path / "b", *b)


@pytest.mark.parametrize(
    ("a", "b", "what", "rollouts"),
    [
        ([sample("r1")], [sample("r3", "two")], "requests", None),  # before other samples
        ([sample("r1")], [sample("r1", prompt_arm="none")], "requests", None),
        ([sample("r1")], [sample("r1", "two", request="reworded")], "requests", None),
        ([sample("r1"), sample("r2", "x")], [sample("r1"), sample("r2", "y")], "rollouts", (1, 2)),
        ([sample("r1", reward=0.0)], [sample("r1", reward=1.0)], "verdicts", (0, 1)),
        ([sample("r1")], [sample("r1")], None, None),
    ],
)
def test_what_differs_first_is_named(tmp_path, a, b, what, rollouts):
    found = parting(*two(tmp_path, ([{}, {}], [[sample("r0")], a]), ([{}, {}], [[sample("r0")], b])))
    assert (found.compared, found.what, found.rollouts) == (2, what, rollouts)
    assert found.step == (2 if what else None)


def test_the_first_sample_that_differs_is_shown_from_where_it_does(tmp_path):
    a = [{"train/loss": 1.0}], [[sample("r1"), sample("r2", "I can help."), sample("r3", "x")]]
    b = [{"train/loss": 2.0}], [[sample("r1"), sample("r2", "I cannot."), sample("r3", "y")]]
    found = parting(*two(tmp_path, a, b))
    assert (found.what, found.rollouts, found.metrics) == ("rollouts", (2, 3), {"train/loss": (1.0, 2.0)})
    assert found.text is not None
    assert (found.text.request_id, found.text.at_char, found.text.a, found.text.b) == ("r2", 5, " help.", "not.")
    begun = text_difference("r", "q", "No", "No, never")
    assert (begun.at_char, begun.a, begun.b) == (2, "", ", never")


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "metrics"),
    [
        ({"train/step_s": 1.0}, {"train/step_s": 9.0}, 1e-6, None),  # a time
        ({"train/lr": 2e-6}, {"train/lr": 2.1e-6}, 1e-6, {"train/lr": (2e-6, 2.1e-6)}),
        ({"train/loss": 1.0, "train/kl_nats": None}, {"train/loss": 1.0000005}, 1e-6, None),
        ({"train/loss": 1.0}, {"train/loss": 1.0000005}, 1e-9, {"train/loss": (1.0, 1.0000005)}),
        ({"train/loss": 1.0}, {"train/loss": None}, 1e-6, {"train/loss": (1.0, None)}),
    ],
)
def test_only_a_number_beyond_the_tolerance_is_another_and_a_missing_one_too(tmp_path, a, b, tolerance, metrics):
    found = parting(*two(tmp_path, ([a], [[sample("r1")]]), ([b], [[sample("r1")]])), tolerance)
    assert (found.what, found.metrics) == ("numbers" if metrics else None, metrics)


def test_only_steps_of_both_are_compared_and_asked_is_what_the_kept_samples_ask(tmp_path):
    kept = [[sample("r1"), sample("r2")], [sample("r1")]]
    a, b = two(tmp_path, ([{"train/loss": 1.0}] * 3, kept), ([{"train/loss": 1.0}],))
    assert parting(a, b) == Parting(1)
    assert (asked_ids(a), asked_ids(b)) == ({"r1", "r2"}, set())


def test_a_damaged_file_of_samples_is_one_line(tmp_path):
    a, b = two(tmp_path, ([{}], [[sample("r1")]]), ([{}], [[sample("r1")]]))
    (b.path / "completions" / "step_000001.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"step_000001.jsonl, row 1: not a JSON object"):
        parting(a, b)
