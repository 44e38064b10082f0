"""The verb doctor: one line a finding, the exit code, and the real embedded model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cada_trl import doctor
from cada_trl.config import Config
from cada_trl.diagnosis import Finding
from cada_trl.errors import UserError


def a_check(*levels: str) -> doctor.Check:
    def check(config: Config) -> Iterator[Finding]:
        for level in levels:
            if level == "raises":
                raise UserError("the template is wrong: repair it")
            yield Finding("thing", level, "seen")  # type: ignore[arg-type]

    return check


@pytest.mark.parametrize(
    ("levels", "code", "last"),
    [
        (["ok"], 0, "0 failed, 0 warning(s)"),
        (["ok", "warning"], 0, "0 failed, 1 warning(s)"),
        (["failed", "ok"], 1, "1 failed, 0 warning(s)"),
        (["ok", "raises"], 1, "1 failed, 0 warning(s)"),
    ],
)
def test_the_exit_code_is_one_where_something_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], levels: list[str], code: int, last: str
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"thing": a_check(*levels)})
    assert doctor.main(["data=twins"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(levels) + 1
    assert lines[-1] == last


def test_a_check_that_fails_does_not_keep_the_others_from_running(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", {"first": a_check("raises"), "second": a_check("ok")})
    doctor.main([])
    assert capsys.readouterr().out.splitlines()[:2] == [
        "failed   first         the template is wrong: repair it",
        "ok       thing         seen",
    ]


def test_a_wrong_key_is_refused_before_anything_is_checked() -> None:
    with pytest.raises(UserError, match="did you mean beta_kl"):
        doctor.main(["betta_kl=1"])


def test_the_default_run_passes_every_check_here(capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded model's real tokenizer; only memory and disk depend on the machine."""
    doctor.main(["data=twins"])
    out = capsys.readouterr().out
    failed = [line for line in out.splitlines() if line.startswith("failed")]
    assert [line for line in failed if line.split()[1] not in {"memory", "disk"}] == []
    for check in ("versions", "judge", "reward", "tokenizer", "prompt", "context", "parser"):
        assert f"  {check} " in out


def test_a_gated_model_without_access_fails_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert doctor.main(["model=llama3", "data=twins", "hardware=a100x4"]) == 1
    out = capsys.readouterr().out
    assert "is gated: accept its licence on the hub, then `hf auth login`" in out
    assert "failed   tokenizer     meta-llama/Meta-Llama-3-8B-Instruct is not in the local cache" in out
