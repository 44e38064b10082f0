"""judging.weights with a tiny random Llama and a tokenizer of the bytes: the path, not any guard's judgement."""

from __future__ import annotations

import shutil
import string
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.judging.endpoint import Text
from cada_trl.judging.forms import GUARDS
from cada_trl.judging.model_judge import ModelJudge
from cada_trl.judging.weights import LocalModel
from cada_trl.records import Verdict

MOST_TOK = 2048
PROMPTS = [Text(text, False) for text in ("abc", "the longest prompt of all of them", "ab")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with one token a character; nothing else than safetensors."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["</s>", "<s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    path = tmp_path_factory.mktemp("guard")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>").save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=MOST_TOK,
        bos_token_id=1,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return path


def test_an_answer_does_not_depend_on_the_batch_it_is_asked_in(folder: Path) -> None:
    model = LocalModel(str(folder))
    together = dict(model.answers(PROMPTS, 5))
    alone = {i: dict(model.answers([prompt], 5))[0] for i, prompt in enumerate(PROMPTS)}
    assert together == alone
    assert all(answer.text for answer in alone.values())
    assert model.usage.calls == 6
    assert model.usage.prompt_tok == 2 * sum(len(prompt.text) for prompt in PROMPTS)


def test_a_prompt_beyond_the_positions_is_not_answered_and_says_so(folder: Path) -> None:
    found = dict(LocalModel(str(folder)).answers([Text("a" * MOST_TOK, False), PROMPTS[0]], 5))
    assert found[0].text is None
    assert f"{MOST_TOK} tokens do not fit" in found[0].reason
    assert found[1].text


def test_a_guard_that_answers_noise_leaves_the_pair_unscored_with_the_text_kept(folder: Path) -> None:
    judge = ModelJudge(GUARDS["harmbench"], LocalModel(str(folder)), 9)
    judge.check_reachable()
    judged = judge.judge([("q", "r")])[0]
    assert (judged.verdict, judged.harmful) == (Verdict.UNSCORED, None)
    assert judged.reason == "the answer is not yes or no"
    assert len(judged.raw) == 1


def test_looking_for_the_weights_reads_none_of_them(folder: Path) -> None:
    model = LocalModel(str(folder))
    model.check_reachable(PROMPTS[0], 5)
    assert model._model is None


def test_pickled_weights_are_refused_before_anything_is_generated(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "guard")
    (tmp_path / "guard" / "model.safetensors").rename(tmp_path / "guard" / "pytorch_model.bin")
    judge = ModelJudge(GUARDS["harmbench"], LocalModel(str(tmp_path / "guard")), 9)
    with pytest.raises(UserError, match=r"judge harmbench: .* has no \*\.safetensors"):
        judge.check_reachable()
