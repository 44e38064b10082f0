"""LoRA's adapter reaches a real vLLM server, or vLLM in the process, alone; a server of another model is found out."""

from __future__ import annotations

from pathlib import Path

from end_to_end.tiny_model import save_tiny_model, tiny_overrides

from .vllm_servers import NEEDED, SHAPE, is_sound, served, servers, trained, zero

pytestmark = NEEDED


def test_an_adapter_reaches_a_server_alone_and_a_server_of_another_model_ends_the_run(tmp_path: Path) -> None:
    model, other = (save_tiny_model(tmp_path / f"model{seed}", seed=seed, **SHAPE) for seed in (0, 1))
    words, others = ([*tiny_overrides(tmp_path, path), "peft=lora"] for path in (model, other))
    with servers(tmp_path, words, others) as urls:
        code, said, run = trained(tmp_path, "adapter", [*words, *zero(3), *served(urls[:1])])
        assert code == 0, said
        is_sound(run)
        assert not list(run.glob("checkpoints/adapter_*"))
        code, said, _ = trained(tmp_path, "mixed", [*words, *served(urls)])
    assert code not in {0, 75}
    assert f"error: the vLLM server at {urls[1]} does not have the trainer's weights after a sync" in said


def test_an_adapter_reaches_vllm_in_the_process(tmp_path: Path) -> None:
    words = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model", **SHAPE))
    code, said, run = trained(tmp_path, "colocated", [*words, "peft=lora", "rollout=vllm_colocate"])
    assert code == 0 and "Traceback" not in said, said
    is_sound(run)
