"""What a run gives its trainer."""

from types import SimpleNamespace

import pytest
from end_to_end.tiny_model import save_tiny_model, tiny_overrides
from huggingface_hub import constants
from trl import DPOConfig, GRPOConfig, RLOOConfig, SFTConfig
from trl.trainer.utils import create_model_from_path, get_config_model_id

from cada_trl.config import load_config
from cada_trl.models.load import load_tokenizer
from cada_trl.training.run import Run, training_arguments

PINNED, NEWEST = "a" * 40, "b" * 40


def test_the_reference_is_of_the_pinned_commit_and_not_of_the_hubs_newest(tmp_path, monkeypatch):
    repository = tmp_path / "models--org--tiny"
    for seed, commit in enumerate((PINNED, NEWEST)):
        save_tiny_model(repository / "snapshots" / commit, seed=seed)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(NEWEST)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    words = [*tiny_overrides(tmp_path, tmp_path), "model.source=hub", "model.path=org/tiny", f"model.revision={PINNED}"]
    config = load_config(words)
    run = SimpleNamespace(config=config, tokenizer=load_tokenizer(config.model))
    policy = Run.policy(run)
    reference = create_model_from_path(get_config_model_id(policy.config))  # as TRL loads it
    assert all(one.equal(other) for one, other in zip(policy.parameters(), reference.parameters(), strict=True))


@pytest.mark.parametrize("arguments", [GRPOConfig, RLOOConfig, SFTConfig, DPOConfig])
def test_the_reference_is_loaded_with_the_models_own_code_where_the_policy_is(tmp_path, arguments):
    config = load_config(["model=llama3", "data=paper", "trust_remote_code=true"])
    given = {key: value for key, value in training_arguments(config, tmp_path, 100).items() if "code" in key}
    assert given == {"trust_remote_code": True}
    assert arguments(output_dir=str(tmp_path), use_cpu=True, **given).trust_remote_code
