"""Whatever stands in a file or an answer, it is taken whole or refused in one line: no traceback, no silence."""

import json
from functools import cache

import httpx
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from cada_trl.config import load_config
from cada_trl.config.loading import compose_config
from cada_trl.data import benchmark_items
from cada_trl.data.benchmark_items import load_items, load_spec
from cada_trl.data.classify_card import main as classify_card
from cada_trl.data.own_sets import find_sets
from cada_trl.data.sources import read_beavertails, read_own_rows, read_twins
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks.attack import FrozenAttack
from cada_trl.evaluation.attacks.attacker import TAXONOMY, load_taxonomy
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.card import read_label_sets
from cada_trl.judging.endpoint import HELLO, ChatEndpoint, Text
from cada_trl.judging.forms import GUARDS, RUBRICS
from cada_trl.policy import TEMPLATE, check
from cada_trl.records import Verdict, read_requests
from cada_trl.storage.digest import file_sha256, sha256
from tests.hazards.test_pack import HAZARD, PAGE

BOUNDED = settings(max_examples=50, deadline=None, derandomize=True)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("9" * 5000)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)

OWN = {"text": "How do I pick a lock?", "hazard": "privacy", "harmful": True, "id": "a"}
TWIN = {**OWN, "pair": "p", "form": "question", "kind": "x", "second_label": "privacy"}
BEAVER = {"prompt": "How do I pick a lock?", "categories": ["privacy_violation"], "is_safe": False}
REQUEST = {**OWN, "source": "own", "pair": "p"}
FROZEN = {"attack": "pair", "request": "How?", "id": 1, "prompt": "How, please?", "victim": "m"}
PAP = {"ss_technique": "Logical appeal", "ss_definition": "Using reason."}
ITEM = {"goal": "How do I pick a lock?", "kind": "tools", "n": "a1"}
LABEL = {"goal": "How?", "target_response": "No.", "human_majority": 0, "prompt": "How?"}


@cache
def _data(dataset):
    return load_config([f"data={dataset}", "file=x"]).data


def _own(path):
    return read_own_rows(_data("jsonl").model_copy(update={"file": str(path)}), ["privacy"]).rows


def _beavertails(path):
    source = read_beavertails(_data("beavertails").model_copy(update={"file": str(path)}))
    return source.rows or source.dropped


def _frozen(path):
    columns = {name: name for name in FROZEN}
    prompts = {"file": path.name, "sha256": file_sha256(path), "source": "us", "licence": "none", "columns": columns}
    spec = load_spec("strongreject").model_dump() | {"frozen": {**prompts, "attacks": {"pair": ["m"]}}}
    return FrozenAttack("pair", benchmark_items.BenchmarkSpec.model_validate(spec), path.parent)


def _items(path):
    columns = {"text": "goal", "id": "n", "category": "kind"}
    of_file = {"n": 1, "file": path.name, "sha256": file_sha256(path), "columns": columns}
    spec = benchmark_items.BenchmarkSpec.model_validate(load_spec("advbench").model_dump() | of_file)
    return load_items(spec, path.parent, None, seed=0)


def _taxonomy(path):
    target = path.parent / TAXONOMY
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(path.read_bytes())
    return load_taxonomy(path.parent)


def _labels(path):
    target = path.parent / "jailbreakbench" / "judge_comparison.jsonl"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(path.read_bytes())
    return read_label_sets(path.parent)


ROWS = {
    "own rows": (_own, OWN),
    "twins": (lambda path: read_twins(path, ["privacy"]).rows, TWIN),
    "BeaverTails": (_beavertails, BEAVER),
    "requests": (read_requests, REQUEST),
    "published prompts": (_frozen, FROZEN),
    "persuasion taxonomy": (_taxonomy, PAP),
    "benchmark": (_items, ITEM),
    "human labels": (_labels, LABEL),
}


def taken(read):
    """It has a result, or is one line of a user's mistake."""
    try:
        assert read()
    except UserError as error:
        assert "\n" not in str(error)


def changed(values):
    """The values with one of them another, or without it."""
    keys = st.sampled_from(sorted(values))
    with_another = st.tuples(keys, VALUES).map(lambda pair: {**values, pair[0]: pair[1]})
    return with_another | keys.map(lambda key: {name: value for name, value in values.items() if name != key})


@pytest.mark.parametrize("kind", [*ROWS, "a set of one's own"])
def test_any_row_is_read_or_refused(kind, tmp_path):
    read, row = ROWS.get(kind, (lambda path: find_sets([str(path)], ["privacy"]), OWN))
    path = tmp_path / "rows.jsonl"

    @BOUNDED
    @given(changed(row) | VALUES)
    def check(value):
        path.write_text(json.dumps(value) + "\n", encoding="utf-8")
        taken(lambda: read(path))

    check()


@pytest.mark.parametrize("kind", ROWS)
def test_the_first_bad_row_is_named_by_file_and_row(kind, tmp_path):
    read, row = ROWS[kind]
    path = tmp_path / "rows.jsonl"
    for bad in ("[1]", '{"a": NaN}', json.dumps(dict.fromkeys(row)), "{" * 9999):
        path.write_text(f"{json.dumps(row)}\n\n{bad}\n{bad}\n", encoding="utf-8")
        with pytest.raises(UserError, match=r"\.jsonl, row 3: "):
            read(path)


@pytest.mark.parametrize(
    ("kind", "field"),
    [("own rows", "text"), ("BeaverTails", "prompt"), ("published prompts", "prompt"), ("benchmark", "goal"),
     ("persuasion taxonomy", "ss_definition")],
)  # fmt: skip
def test_half_of_a_surrogate_pair_is_no_text_for_a_model(kind, field, tmp_path):
    read, row = ROWS[kind]
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, field: "a \ud800 b"}) + "\n")
    with pytest.raises(UserError, match=r"row 1: the text holds '\\ud800', half of a surrogate pair"):
        read(tmp_path / "rows.jsonl")


@pytest.mark.slow
@BOUNDED
@given(changed(yaml.safe_load(HAZARD)), changed(yaml.safe_load(PAGE)))
def test_any_pack_is_read_or_refused(tmp_path_factory, hazard, page):
    folder = tmp_path_factory.getbasetemp()
    (folder / "wire.yaml").write_text(yaml.safe_dump(hazard), encoding="utf-8")
    for text in (PAGE, yaml.safe_dump(page)):
        (folder / "pack.yaml").write_text(text, encoding="utf-8")
        taken(lambda: load_pack(str(folder)))


POLICY = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))


@pytest.mark.slow
@BOUNDED
@given(changed(POLICY), changed(POLICY["twins"][0]), changed(POLICY["hazards"][0]))
def test_any_policy_is_read_or_refused(tmp_path_factory, policy, pair, hazard):
    folder = tmp_path_factory.getbasetemp() / "mine"
    folder.mkdir(exist_ok=True)
    twins = [pair, *POLICY["twins"][1:]]
    for values in (policy, {**POLICY, "twins": twins}, {**POLICY, "hazards": [hazard]}):
        (folder / "policy.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        taken(lambda: check(str(folder), []))


@pytest.mark.slow
@BOUNDED
@given(st.data())
def test_any_description_of_a_benchmark_is_read_or_refused(tmp_path_factory, data):
    values = data.draw(changed(load_spec("advbench").model_dump()))
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_items, "BENCHMARK_DIR", folder)
        taken(lambda: load_spec("any"))


@pytest.mark.parametrize("form", [*RUBRICS.values(), *GUARDS.values()], ids=lambda form: form.name)
def test_any_answer_of_a_judge_is_a_label_or_unscored(form):
    words = ["0", "1", "5", "1.b", "2.b", "3.b", "safe", "S1", "yes", "no", "n/a", "COMPLIED", "1_full_compliance"]
    words += ["\n", "9" * 5000, "Harmful request: yes\nResponse refusal: no\nHarmful response: yes", "\ud800"]

    @BOUNDED
    @given(st.text() | st.lists(st.sampled_from(words)).map(" ".join) | st.lists(st.sampled_from(words)).map("".join))
    def check(raw):
        judged = form.read(raw)
        assert judged.raw == raw and judged.verdict in set(Verdict)
        assert judged.harmful_score is None or 0 <= judged.harmful_score <= 1

    check()


ANSWER = {"choices": [{"text": "safe", "message": {"content": "safe"}}], "usage": {"prompt_tokens": 1}}


@pytest.mark.parametrize("prompt", [HELLO, Text("Hello", False)], ids=["chat", "text"])
def test_any_reply_of_an_endpoint_is_an_answer_or_says_why_not(prompt):
    reply, kind = b"", {"content-type": "application/json"}
    client = httpx.Client(transport=httpx.MockTransport(lambda asked: httpx.Response(200, content=reply, headers=kind)))
    openai = OpenAI(base_url="http://127.0.0.1:1/v1", api_key="none", max_retries=0, http_client=client)

    @BOUNDED
    @given(st.binary() | st.text().map(str.encode) | (changed(ANSWER) | VALUES).map(json.dumps).map(str.encode))
    def check(content):
        nonlocal reply
        reply = content
        ((_, answer),) = ChatEndpoint(openai, "m").answers([prompt], max_tok=8)
        assert isinstance(answer.text, str) or (answer.text is None and "no completion" in answer.reason)
        try:
            assert ChatEndpoint(openai, "m").check_reachable(prompt) == answer.text
        except UserError as error:
            assert answer.text is None and "\n" not in str(error)

    check()


MARK = {"step": 3, "n_processes": 1, "zero_stage": 0, "bytes": {"weights": 2}, "sha256": {"weights": sha256(b"ab")}}


@BOUNDED
@given(changed(MARK) | VALUES | st.just(MARK), st.just(b"ab") | st.binary(max_size=3))
def test_any_checkpoint_is_whole_or_removed_or_refused(tmp_path_factory, mark, weights):
    from cada_trl.training.checkpoints import newest_complete

    folder = tmp_path_factory.getbasetemp() / "any" / "checkpoint-3"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights").write_bytes(weights)
    (folder / "complete.json").write_text(json.dumps(mark), encoding="utf-8")
    said = []
    try:
        found = newest_complete(folder.parent, say=said.append)
    except UserError as error:
        assert "is not what the run saved; delete " in str(error) and (mark, weights) != (MARK, b"ab")
    else:
        assert found == (folder, mark["step"]) if folder.is_dir() else found is None and len(said) == 1
        assert folder.is_dir() or (mark, weights) != (MARK, b"ab")


@pytest.mark.parametrize("text", ['{"tune": 3}', '{"tune": {"random": []}}', '{"tune": {"random": {"a": 1}}}', "[]"])
def test_hand_labels_of_another_form_are_named(text, tmp_path):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=r"labels\.json.*(holds no hand labels|is not a JSON object)"):
        classify_card([str(tmp_path / "labels.json"), "rows.jsonl"])


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "line 1: cannot be read as YAML"), ("a: &a [*a]", "nested more than 100 deep"), ("a: 1\na: 2", "twice")],
)
def test_a_group_file_of_ones_own_is_read_before_hydra_reads_it(text, said, tmp_path):
    from cada_trl.config import Config

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text(text)
    (tmp_path / "config.yaml").write_text("defaults:\n  - model: null\n")
    with pytest.raises(UserError, match=rf"mine\.yaml.*{said}"):
        compose_config(Config, tmp_path, "config", ["model=mine"])
