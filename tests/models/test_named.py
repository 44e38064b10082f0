import hashlib
import json
import re

import pytest
from end_to_end.tiny_model import save_tiny_model

from cada_trl.config import ModelConfig, load_config
from cada_trl.errors import UserError
from cada_trl.models import named
from cada_trl.models.load import load_tokenizer
from cada_trl.models.named import model_fingerprint, model_identity, model_overrides, named_model

from .conftest import describe_run, model_config, rewrite


@pytest.fixture
def folder(tmp_path):
    return save_tiny_model(tmp_path / "tiny")


def test_a_choice_is_the_model_that_training_takes():
    assert named_model("llama3") == load_config(["model=llama3"]).model


def test_a_model_folder_is_described_by_its_own_files(folder):
    model = named_model(str(folder))
    assert (model.name, model.source, model.path) == ("tiny", "folder", str(folder))
    assert (model.eos, model.pad, model.context_tok, model.dtype) == ("<eot>", "<pad>", 2048, "float32")
    assert model.n_params == 2 * 260 * 32 + 2 * 9280 + 32  # embeddings in and out, two layers, the last norm
    assert load_tokenizer(model).eos_token == "<eot>"


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        ({"dtype": "bfloat16"}, "bfloat16"),
        ({"torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16"}, "float32"),
        ({}, "float32"),
    ],
)
def test_weights_that_bfloat16_would_round_are_read_as_float32(folder, stored, dtype):
    rewrite(folder / "config.json", drop="dtype", **stored)
    assert named_model(str(folder)).dtype == dtype


def test_a_pad_that_is_not_named_is_the_end_token(folder):
    eos = {"content": "<eot>", "special": True}
    rewrite(folder / "tokenizer_config.json", pad_token=None, eos_token=eos)
    assert (named_model(str(folder)).eos, named_model(str(folder)).pad) == ("<eot>", "<eot>")


def test_a_run_folder_is_its_final_model_with_the_runs_own_settings(tmp_path):
    run = tmp_path / "smollm2-0-s0"
    save_tiny_model(run / "final")
    describe_run(run, "context_tok=4096", state="done")
    model = named_model(str(run))
    assert (model.name, model.source, model.path) == ("smollm2-0-s0", "folder", str(run / "final"))
    assert (model.context_tok, model.eos) == (4096, "<|im_end|>")


def test_an_unfinished_run_is_refused_also_where_its_model_is_half_saved(tmp_path):
    save_tiny_model(tmp_path / "final")
    for state, said in ((None, "unknown"), ("interrupted", "interrupted")):
        describe_run(tmp_path, state=state)
        with pytest.raises(UserError, match=rf"not finished \(state: {said}\); the training command goes on with it"):
            named_model(str(tmp_path))


def test_the_folder_of_an_evaluation_is_no_run(tmp_path):
    (tmp_path / "config.yaml").write_text("benchmarks: [twins_harmful]\n")
    with pytest.raises(UserError, match=r"is no run folder: its config.yaml has no run_name; give runs/<name>"):
        named_model(str(tmp_path))


def test_a_finished_run_without_its_model_is_refused(tmp_path):
    describe_run(tmp_path, state="done")
    with pytest.raises(UserError, match="has no model in final/; expected a whole run folder; restore it"):
        named_model(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "key", "message"),
    [
        ("tokenizer_config.json", "eos_token", "names no eos_token"),
        ("config.json", "max_position_embeddings", "names no max_position_embeddings"),
        (
            "tokenizer_config.json",
            None,
            r"cannot read .*tokenizer_config\.json: No such file or directory; expected a model saved",
        ),
        ("model.safetensors", None, r"has no \*\.safetensors"),
    ],
)
def test_a_folder_that_does_not_say_what_is_needed_is_refused(file, key, message, folder):
    """key: that the file lacks; None: there is no such file."""
    if key is None:
        (folder / file).unlink()
    else:
        rewrite(folder / file, drop=key)
    with pytest.raises(UserError, match=message):
        named_model(str(folder))


def test_a_word_that_is_nothing_gets_the_nearest_choice():
    with pytest.raises(
        UserError, match=re.escape("model=lama3 is no choice, no folder and no hub id such as org/name; did")
    ):
        named_model("lama3")


def test_a_hub_model_that_cannot_be_described_is_one_line(monkeypatch):
    import huggingface_hub

    def unreadable(*args, **kwargs):
        raise OSError("no tokenizer\nin it")

    monkeypatch.setattr(named, "check_hub", lambda hub_id, revision: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreadable)
    with pytest.raises(UserError, match=re.escape("cannot describe org/name from the hub (no tokenizer); check its")):
        named_model("org/name")


def test_the_overrides_put_the_model_in_the_place_of_the_group():
    model = named_model("deepthought").model_copy(update={"name": "a, b"})
    words = model_overrides(model)
    assert words[0] == "~model"
    assert '++model.name="a, b"' in words
    assert len(words) == 1 + len(ModelConfig.model_fields)


def test_a_folder_is_its_weights_tokenizer_and_template(folder):
    identity = model_identity(named_model(str(folder)))
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"} <= identity.keys()
    assert identity["config.json"] == hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()


def test_a_moved_folder_is_the_same_model_and_changed_weights_are_another(folder, tmp_path):
    before = model_identity(named_model(str(folder)))
    folder = folder.rename(tmp_path / "moved")
    assert model_identity(named_model(str(folder))) == before
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    after = model_identity(named_model(str(folder)))
    assert {name for name in before if before[name] != after[name]} == {"model.safetensors"}


def test_a_model_that_was_made_anew_in_the_same_folder_has_another_fingerprint(folder):
    before = model_fingerprint(named_model(str(folder)))
    assert model_fingerprint(named_model(str(save_tiny_model(folder)))) == before
    assert model_fingerprint(named_model(str(save_tiny_model(folder, seed=7)))) != before
    before = model_fingerprint(named_model(str(folder)))
    (folder / "modeling_own.py").write_text("# code of its own")
    assert model_fingerprint(named_model(str(folder))) != before


@pytest.mark.parametrize("recorded", ["another", None])
@pytest.mark.parametrize("name", ["model.safetensors", "chat_template.jinja", "other.safetensors"])
def test_a_runs_model_that_is_not_what_the_run_saved_is_refused(tmp_path, name, recorded):
    """recorded: in place of the file's hash; None: the file came later."""
    model = model_config(path=str(save_tiny_model(tmp_path / "final")))
    (tmp_path / "final" / "other.safetensors").write_bytes(b"other")
    saved = model_identity(model)
    (tmp_path / "manifest.json").write_text(json.dumps({"model": saved}), encoding="utf-8")
    assert model_identity(model) == saved
    hashes = {key: value for key, value in (saved | {name: recorded}).items() if value}
    (tmp_path / "manifest.json").write_text(json.dumps({"model": hashes}), encoding="utf-8")
    with pytest.raises(UserError, match=rf"final/{name} is not what the run saved, as its manifest.json has it"):
        model_identity(model)
