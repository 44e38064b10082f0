"""When the correction of vLLM's samples may be switched on."""

import pytest

from cada_trl.config import config_hash, load_config
from cada_trl.errors import UserError

CAP = ["rollout=vllm_colocate", "importance_cap=3"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*CAP, "algo=grpo"], "importance_cap=3.0 acts with method=cada only; method=grpo has TRL's own"),
        (["importance_cap=3"], "importance_cap=3.0 corrects vLLM's sampling; rollout=transformers"),
        (CAP, "needs samples of the learned prompt: set learn_on=rollout or prompt=none"),
        ([*CAP, "learn_on=rollout", "top_p=0.9"], "top_p < 1 samples from a part of it: set top_p=1.0"),
        (["rollout=vllm_colocate", "importance_cap=0.5", "learn_on=rollout"], "greater than or equal to 1"),
        (["rollout=vllm_server", "server_url=null"], "rollout=vllm_server needs server_url, such as http://"),
    ],
)
def test_a_wrong_correction_or_no_server_is_refused_with_the_reason(overrides, message):
    with pytest.raises(UserError) as error:
        load_config(overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("on_policy", ["learn_on=rollout", "prompt=none"])
@pytest.mark.parametrize("backend", ["vllm_colocate", "vllm_server"])
def test_on_policy_samples_of_vllm_can_be_corrected(backend, on_policy):
    assert load_config([f"rollout={backend}", "importance_cap=3", on_policy]).rollout.importance_cap == 3.0
    assert load_config([f"rollout={backend}"]).rollout.importance_cap is None


def test_another_address_of_the_server_is_the_same_run_and_another_cap_is_not():
    server = ["rollout=vllm_server", "learn_on=rollout"]
    here, there = load_config(server), load_config([*server, "server_url=http://elsewhere:9000"])
    assert config_hash(here) == config_hash(there)
    assert config_hash(here) != config_hash(load_config([*server, "importance_cap=3"]))
