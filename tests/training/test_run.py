"""What a run gives its trainer."""

from types import SimpleNamespace

from end_to_end.tiny_model import save_tiny_model, tiny_overrides
from huggingface_hub import constants
from trl.trainer.utils import create_model_from_path, get_config_model_id

from cada_trl.config import load_config
from cada_trl.models.load import load_tokenizer
from cada_trl.training.run import Run

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
