"""The server's side of a sync, with vLLM's base class and a stand-in for its model."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from cada_trl.rollouts.vllm_plugin import UPDATABLE, installed_version


@pytest.fixture
def engine():
    if installed_version() is None:
        pytest.skip("needs vLLM")
    from cada_trl.rollouts.in_vllm import SharedMemoryEngine

    model = SimpleNamespace(seen={})
    model.load_weights = model.seen.update
    config = SimpleNamespace(parallel_config=None, model_config=None)
    return SharedMemoryEngine(SimpleNamespace(), config, torch.device("cpu"), model)


def test_the_files_weights_reach_the_model(engine, tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "weights.safetensors")
    engine.start_weight_update()
    engine.update_weights({"path": str(tmp_path / "weights.safetensors")})
    engine.finish_weight_update()
    assert engine.model.seen["a"].tolist() == [1.0, 1.0]


def test_an_update_of_another_form_is_refused(engine):
    with pytest.raises(ValueError, match="Invalid update_info"):
        engine.update_weights({"names": ["a"]})


def test_a_server_whose_weights_are_packed_is_refused(engine, monkeypatch):
    monkeypatch.delenv(UPDATABLE, raising=False)
    with pytest.raises(RuntimeError, match=r"cada_trl\.rollouts\.serve"):
        engine.init_transfer_engine(engine.parse_init_info({}))
