"""A model whose files are damaged, or not of one model, is refused in one line that names the file or the weights."""

import json
import os
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from training.tiny import SPECIAL

from cada_trl.errors import UserError
from cada_trl.models.checks import check_tokenizer
from cada_trl.models.folder import check_finite
from cada_trl.models.load import load_policy, load_tokenizer
from cada_trl.models.named import named_model
from cada_trl.models.prompts import chat_ids, end_ids

from .conftest import TEMPLATE, WORDS, model_config, rewrite

WEIGHTS, INDEX, TEMPLATE_FILE = "model.safetensors", "model.safetensors.index.json", "chat_template.jinja"


def read(folder):
    """All that a verb reads of a model."""
    config = model_config(path=str(folder))
    tokenizer = load_tokenizer(config)
    check_tokenizer(tokenizer, config)
    end_ids(config, tokenizer)
    load_policy(config, tokenizer)


def holds(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def gone(name):
    return lambda folder: (folder / name).unlink()


def cut(name, n_bytes):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:n_bytes])


def says(name, **changes):
    return lambda folder: rewrite(folder / name, **changes)


def weighs(**changes):
    """Tensors by name, a dot for each two underscores; None takes one away."""

    def change(folder):
        tensors = load_file(folder / WEIGHTS)
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                del tensors[key]
            else:
                tensors[key] = torch.tensor(value)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def in_shards(then):
    def change(folder):
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        save_file(tensors, folder / "model-00001-of-00001.safetensors", metadata={"format": "pt"})
        names = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}), encoding="utf-8")
        then(folder)

    return change


@pytest.mark.parametrize(
    "change",
    [
        weighs(model__layers__0__self_attn__rotary_emb__inv_freq=[1.0, 0.1]),
        in_shards(lambda _: None),
        lambda folder: (folder / "generation_config.json").unlink(),
    ],
    ids=["rotary tables", "shards", "no generation config"],
)
def test_what_many_a_repository_has_is_read(model_folder, change):
    change(model_folder)
    read(model_folder)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_weight_that_is_no_number_is_named_before_anything_is_asked(model_folder, value):
    weighs(model__norm__weight=[float(value)] + [1.0] * 15)(model_folder)
    where = re.escape(str(model_folder))
    with pytest.raises(UserError, match=rf"the weights of {where} hold NaN or infinity, in model\.norm\.weight; copy"):
        read(model_folder)
    weighs(lm_head__weight=[[float(value)] * 16] * (len(SPECIAL) + len(WORDS)))(model_folder)
    with pytest.raises(UserError, match=r"hold NaN or infinity, in .* and 1 more tensors"):
        check_finite(str(model_folder), model_folder)


def test_whole_numbers_and_empty_tensors_are_finite(tmp_path):
    tensors = {"ids": torch.tensor([1, 2]), "none": torch.zeros(0), "big": torch.tensor([3e38])}
    save_file(tensors, tmp_path / WEIGHTS)
    check_finite("a", tmp_path)


def test_a_head_that_is_the_embedding_is_not_missing(model_folder):
    says("config.json", tie_word_embeddings=True)(model_folder)
    weighs(lm_head__weight=None)(model_folder)
    read(model_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (says("config.json", num_hidden_layers=3), "9 missing from the file (model.layers.2.input_layernorm.weight, "),
        (says("config.json", num_hidden_layers=1), "9 unknown to the model (model.layers.1.input_layernorm.weight, "),
        (says("config.json", model_type="qwen2"), "6 missing from the file (model.layers.0.self_attn.k_proj.bias, "),
        (weighs(model__norm__weight=None), "1 missing from the file (model.norm.weight); bring both from one model"),
        (weighs(model__more__weight=[1.0]), "1 unknown to the model (model.more.weight)"),
        (weighs(model__norm__weight=[1.0] * 3), "1 of another shape (model.norm.weight (3,))"),
        (says("config.json", hidden_size="x"), "Validation error for field 'hidden_size': TypeError: "),
        (cut(WEIGHTS, 5000), "model.safetensors is damaged: "),
        (holds(WEIGHTS, b""), "model.safetensors is damaged: "),
        (holds(WEIGHTS, b"garbage " * 999), "copy the model here again, or save it again with save_pretrained"),
        (in_shards(cut("model-00001-of-00001.safetensors", 500)), "model-00001-of-00001.safetensors is damaged: "),
        (
            in_shards(says(INDEX, weight_map={"model.norm.weight": "model-2.safetensors"})),
            "index.json names model-2.safetensors, which is not there",
        ),
        (in_shards(holds(INDEX, b"{}")), "index.json has no weight_map"),
        (in_shards(cut(INDEX, 100)), "index.json is not a JSON object"),
        (gone("config.json"), "has no config.json"),
        (lambda folder: (folder / WEIGHTS).rename(folder / "pytorch_model.bin"), "has no *.safetensors"),
        (says("config.json", model_type="no-such-model"), "cannot load"),
        (gone(TEMPLATE_FILE), "has no chat template"),
        (cut("config.json", 100), "config.json is not a JSON object"),
        (cut("tokenizer.json", 500), "tokenizer.json is not a JSON object"),
        (holds("tokenizer_config.json", b"[1]"), "tokenizer_config.json is not a JSON object"),
        (gone("tokenizer.json"), "Couldn't instantiate the backend tokenizer"),
        (cut("generation_config.json", 50), "generation_config.json is not a JSON object"),
        (says("generation_config.json", eos_token_id="x"), "eos_token_id 'x' in generation_config.json"),
        (holds(TEMPLATE_FILE, b"{% for m in"), "fails on user (TemplateSyntaxError: "),
        (holds(TEMPLATE_FILE, b"{{ raise_exception('never') }}"), "fails on user (TemplateError: never); repair its"),
        (holds(TEMPLATE_FILE, b"\xff\xfe"), "chat_template.jinja is damaged: it is no text in UTF-8"),
    ],
)
def test_a_model_that_is_not_whole_is_one_line(model_folder, change, message):
    change(model_folder)
    with pytest.raises(UserError) as error:
        read(model_folder)
    assert message in str(error.value)
    assert str(model_folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_transformers_prints_no_table_beside_the_line(model_folder, capfd):
    weighs(model__norm__weight=None)(model_folder)
    with pytest.raises(UserError):
        read(model_folder)
    assert "MISSING" not in capfd.readouterr().err


def test_a_template_that_refuses_a_role_is_one_line(model_folder):
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    (model_folder / TEMPLATE_FILE).write_text(refuses + TEMPLATE, encoding="utf-8")
    tokenizer = load_tokenizer(model_config(path=str(model_folder)))
    with pytest.raises(UserError, match=r"fails on system, user \(TemplateError: no system role\)"):
        chat_ids(tokenizer, [{"role": "system", "content": "How"}, {"role": "user", "content": "far"}])


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer.json", TEMPLATE_FILE, "vocab.txt"])
def test_a_pipe_or_a_huge_text_in_the_folder_is_one_line_at_once(model_folder, name):
    (model_folder / name).unlink(missing_ok=True)
    os.mkfifo(model_folder / name)
    said = "it is a device or a pipe, no plain file"
    for _ in range(2):
        for of_folder in (read, lambda folder: named_model(str(folder))):
            with pytest.raises(UserError, match=rf"{name}: {said}.*; copy the model here"):
                of_folder(model_folder)
        if name == WEIGHTS:
            return
        (model_folder / name).unlink()
        with (model_folder / name).open("wb") as file:
            file.truncate(1 << 41)
        said = "it has 2,199,023,255,552 bytes"


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer_config.json"])
def test_a_damaged_folder_given_by_its_name_is_one_line(model_folder, name):
    (model_folder / name).write_bytes(b"[1, 2] garbage")
    with pytest.raises(UserError, match=rf"{name} is "):
        named_model(str(model_folder))
