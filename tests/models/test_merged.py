"""A LoRA run is evaluated as the model that base and adapter make; what does not fit is one line."""

import json
from pathlib import Path

import pytest

from cada_trl.config import check_config
from cada_trl.errors import UserError
from cada_trl.models.load import load_policy, load_tokenizer, resolve_model
from cada_trl.models.named import model_fingerprint, model_identity, named_model
from cada_trl.storage.digest import read_config

from .conftest import describe_run


def lora_run(folder, base):
    """A finished LoRA run: config.yaml, and final/ with the adapter, which is not the zero that it starts from."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    overrides = ["peft=lora", "source=folder", f"path={base}", "eos='<eot>'", "pad='<pad>'"]
    overrides += ["context_tok=64", "max_prompt_tok=32", "max_new_tok=32"]
    folder.mkdir()
    describe_run(folder, *overrides, state="done")
    torch.manual_seed(0)
    adapted = get_peft_model(LlamaForCausalLM.from_pretrained(base), LoraConfig(r=2, target_modules="all-linear"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    adapted.save_pretrained(folder / "final")
    return folder


@pytest.fixture
def run(tmp_path, model_folder):
    return lora_run(tmp_path / "lora-0-s0", model_folder)


def logits(model):
    import torch

    with torch.no_grad():
        return model(torch.arange(8)[None]).logits


def test_the_merged_model_answers_as_base_and_adapter_do(run, model_folder):
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    model = named_model(str(run))
    merged = logits(load_policy(model, load_tokenizer(model)))
    base = LlamaForCausalLM.from_pretrained(model_folder)
    assert not torch.allclose(merged, logits(base), atol=1e-2)
    torch.testing.assert_close(merged, logits(PeftModel.from_pretrained(base, str(run / "final"))))


def test_it_is_merged_once_and_again_for_another_adapter(run):
    from safetensors.torch import load_file, save_file

    model = named_model(str(run))
    first, identity = Path(resolve_model(model)), model_identity(model)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert Path(resolve_model(model)) == first and (first / "model.safetensors").stat().st_mtime_ns == written
    weights = run / "final" / "adapter_model.safetensors"
    save_file({name: tensor * 2 for name, tensor in load_file(weights).items()}, weights)
    assert Path(resolve_model(model)) != first
    assert model_identity(model)["model.safetensors"] != identity["model.safetensors"]


def test_an_adapter_outside_a_run_folder_is_refused(run):
    model = named_model(str(run))
    (run / "config.yaml").unlink()
    with pytest.raises(UserError, match="is an adapter outside a run folder"):
        resolve_model(model)


def test_an_adapter_whose_base_is_another_model_by_now_is_refused_until_it_was_merged(run, model_folder):
    began = model_fingerprint(check_config(read_config(run)).model)
    (run / "manifest.json").write_text(json.dumps({"exit_state": "done", "initial_model": began}), encoding="utf-8")
    assert named_model(str(run)).path == str(run / "final")
    weights = model_folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (run / "merged-0a1b2c3d.lock").touch()  # a merge that failed left it
    with pytest.raises(UserError, match=r"is another model now than the one that .*lora-0-s0 began from; restore it$"):
        named_model(str(run))
    (run / "merged-0a1b2c3d").mkdir()
    assert named_model(str(run)).path == str(run / "final")


def test_an_adapter_given_without_its_run_is_refused(run):
    with pytest.raises(UserError, match=r"final is an adapter alone; give its run folder, as in model=runs/NAME"):
        named_model(str(run / "final"))


def test_pickled_adapter_weights_are_refused(run):
    (run / "final" / "adapter_model.safetensors").rename(run / "final" / "adapter_model.bin")
    with pytest.raises(UserError, match=r"has an adapter_config\.json and no adapter_model\.safetensors"):
        resolve_model(named_model(str(run)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("cut", r"adapter_model\.safetensors is damaged: "),
        ("lacks a key", "does not fit .*: Found missing adapter keys"),
        ("no json", r"adapter_config\.json is not a JSON object"),
        ("another base", r"does not fit .*, the base that the run's config\.yaml names"),
    ],
)
def test_an_adapter_that_is_damaged_or_of_another_base_is_one_line_and_leaves_nothing(
    run, model_folder, change, message
):
    from safetensors.torch import load_file, save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    weights = run / "final" / "adapter_model.safetensors"
    if change == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif change == "lacks a key":
        save_file(dict(sorted(load_file(weights).items())[1:]), weights)
    elif change == "no json":
        (run / "final" / "adapter_config.json").write_text("{", encoding="utf-8")
    else:
        described = json.loads((model_folder / "config.json").read_text(encoding="utf-8"))
        LlamaForCausalLM(LlamaConfig(**described | {"hidden_size": 32, "head_dim": 16})).save_pretrained(model_folder)
    with pytest.raises(UserError, match=message) as error:
        resolve_model(named_model(str(run)))
    assert "\n" not in str(error.value)
    assert not [path for path in run.glob("merged-*") if path.is_dir()]
