"""Names, folders, addresses and variables as a user types them: wrong ones are one line, no password is repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cada_trl.config import load_config
from cada_trl.config.loading import as_override, check_values
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import load_evaluate_config
from cada_trl.jobs.grid import read_request

SECRET = "pass1234"


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", ".x", "..", " a", "a\nb", "a\x07", "\u202eb", "x" * 201, ""])
@pytest.mark.parametrize("key", ["run_name", "name", "wandb_project"])
def test_a_name_that_is_no_folders_is_refused(key: str, name: str) -> None:
    config = load_config([])
    values = config.model_dump()
    section = next((part for part in values.values() if isinstance(part, dict) and key in part), values)
    section[key] = name
    with pytest.raises(UserError) as error:
        check_values(type(config), values)
    assert f"{key}=" in str(error.value) and "\n" not in str(error.value)


def test_a_name_of_any_alphabet_is_taken() -> None:
    assert load_config([as_override("run_name", "überprüfung-一号 2")]).run_name == "überprüfung-一号 2"
    assert load_config(["run_name=überprüfung-一号"]).run_name == "überprüfung-一号"


@pytest.mark.parametrize("word", ["sweep_name=a/b", "sweep_name=..", "sweeps_dir='a\tb'"])
def test_a_sweeps_name_and_folder_are_checked_alike(word: str) -> None:
    with pytest.raises(UserError, match=r"expected a (name|folder)"):
        read_request([word])


EVALUATE, TRAIN = load_evaluate_config, load_config


@pytest.mark.parametrize(
    ("load", "words", "said"),
    [
        (TRAIN, ["judge=rubric", f"base_url=https://me:{SECRET}@host/v1"], "name its variable: api_key_env=MY_API_KEY"),
        (TRAIN, ["judge=rubric", f"base_url='https://host/v1?key={SECRET}'"], "name its variable: api_key_env="),
        (TRAIN, ["judge=rubric", f"base_url=https://host/v1?key={SECRET}"], "it holds no password, ? or #"),
        (TRAIN, ["rollout=vllm_server", f"server_url=http://u:{SECRET}@host:1"], "vLLM's server takes none"),
        (
            TRAIN,
            ["rollout=vllm_server", f"server_url=[http://a:1,http://u:{SECRET}@b:1]"],
            "server_url.1: an address is",
        ),
        (
            TRAIN,
            ["rollout=vllm_server", "server_url=http://a:1,http://a:1"],
            "expected one address or several different",
        ),
        (TRAIN, ["rollout=vllm_server", "server_url=[]"], "expected one address or several different"),
        (EVALUATE, [f"attacker_base_url=http://u:{SECRET}@h", "attacker_llm=m"], "attacker_api_key_env=MY_API_KEY"),
        (TRAIN, ["judge=rubric", f"api_key_env=sk-{SECRET}"], "in capitals, as in OPENAI_API_KEY, not the key"),
        (TRAIN, ["judge=rubric", "base_url=host/v1"], "expected an address, as in http://127.0.0.1:8000/v1"),
        (TRAIN, ["judge=rubric", "base_url=http://host:99999"], "expected an address"),
        (TRAIN, ["judge=rubric", "base_url=ftp://host"], "expected an address"),
        (TRAIN, [f"file=a({SECRET}"], "cannot read the value of data.file; one with commas, blanks, brackets or signs"),
        (TRAIN, [f"run_name={'x' * 300}"], "xxx: expected a name"),
        (TRAIN, ["beta_kl=${lr}"], "write the value itself in place of ${...}"),
        (TRAIN, ["xyzzy=1"], "unknown key 'xyzzy'; no name is near it; --help lists them all"),
    ],
)
def test_an_address_or_a_key_in_the_wrong_place_is_named_and_not_repeated(
    load: Callable[[list[str]], Any], words: list[str], said: str
) -> None:
    with pytest.raises(UserError) as error:
        load(words)
    assert said in str(error.value)
    assert SECRET not in str(error.value) and "\n" not in str(error.value)
