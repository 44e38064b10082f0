"""A held-out hazard that leaks into training is refused, row by row."""

from __future__ import annotations

import pytest

from cada_trl.data.held_out import check_no_leak
from cada_trl.errors import UserError
from cada_trl.records import Request


def request(name: str, hazard: str = "privacy", harmful: bool = True) -> Request:
    return Request(name, f"text of {name}", hazard, harmful, "test")


def parts(**changes: list[Request]) -> dict[str, list[Request]]:
    return {
        "train": [request("a"), request("b")],
        "benign_train": [request("c", harmful=False)],
        "probe": [request("d")],
        "held_out": [request("e", "hate")],
        **changes,
    }


def test_a_clean_set_passes() -> None:
    check_no_leak(parts(), ["hate"], "folder")


@pytest.mark.parametrize("part", ["train", "benign_train"])
def test_a_training_row_of_a_held_out_hazard_is_named(part: str) -> None:
    leaking = parts(**{part: [request("a"), request("x", "hate")]})
    with pytest.raises(UserError, match=rf"folder/{part}.jsonl, row 2: 'x' is of the hazard 'hate', which is held out"):
        check_no_leak(leaking, ["hate"], "folder")


@pytest.mark.parametrize("asked", ["probe", "held_out"])
def test_a_probed_text_under_another_name_is_a_leak_too(asked: str) -> None:
    copy = Request("copy", "TEXT of a!", "privacy", True, "test")
    with pytest.raises(UserError, match=rf"train.jsonl, row 1: 'a' is also in {asked}.jsonl"):
        check_no_leak(parts(**{asked: [copy]}), [], "folder")


@pytest.mark.parametrize("part", ["train", "benign_train"])
def test_a_training_row_whose_twin_is_probed_is_a_leak(part: str) -> None:
    trained, probed = (Request(name, name, "privacy", True, "twins", "p-1") for name in ("bad", "good"))
    with pytest.raises(UserError, match=rf"{part}.jsonl, row 1: 'bad' has its twin in twins_probe.jsonl"):
        check_no_leak(parts(**{part: [trained], "twins_probe": [probed]}), [], "folder")


def test_probes_may_share_rows() -> None:
    check_no_leak(parts(twins_probe=[request("d"), request("e", "hate")], harmless_probe=[request("d")]), [], "folder")
