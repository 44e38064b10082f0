"""A verb as a process: one line for a mistake, none for a reader that has enough, no password said again."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cada_trl.errors import run_verb


@pytest.mark.parametrize("words", [["--help"], ["--config"]])
def test_a_reader_that_goes_away_leaves_no_traceback(words: list[str]) -> None:
    command = [sys.executable, "-m", "cada_trl.train", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("hub_id=https://me:pass1234@host/x", "hub_id"),
        ("model=https://pass1234@host/x?a=b", "model"),
        ("https://me:pass1234@host/x", "a word"),
    ],
)
def test_an_address_with_a_password_is_refused_in_any_word_and_not_repeated(
    word: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["verb", "seed=0", word])
    with pytest.raises(SystemExit) as stop:
        run_verb(lambda argv: pytest.fail("the verb was called"))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith(f"error: {name} holds an address with a password")
    assert "pass1234" not in said


@pytest.mark.parametrize("word", ["ask=mail a@b about http://host", "base_url=http://u:p@h", "file=a@b/c"])
def test_other_words_reach_the_verb(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["verb", word])
    with pytest.raises(SystemExit) as stop:
        run_verb(lambda argv: int(argv != [word]))
    assert stop.value.code == 0
