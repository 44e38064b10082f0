"""A run whose config.yaml or manifest was edited since it ended is refused by every verb that takes a run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cada_trl.cli import VERBS
from cada_trl.errors import UserError
from cada_trl.report.run_record import of_training
from cada_trl.storage.digest import sealed
from cada_trl.storage.files import read_json, replace_json
from tests.report.made_up_run import write_run

WORDS = {
    "report": "RUN",
    "evaluate": "model=RUN --dry-run",
    "faithfulness": "model=RUN --dry-run",
    "utility": "model=RUN",
    "tamper": "RUN --dry-run",
    "export": "RUN to=out",
    "chat": "RUN ask=Hello",
    "why": "RUN other",
}
EDITS: dict[str, Callable[[str], str]] = {
    "config.yaml": lambda text: text.replace("seed: 0", "seed: 1"),
    "manifest.json": lambda text: text.replace("phrases-12345678", "panel-12345678"),
}


def ended_run(path: Path) -> Path:
    """As train leaves it, with a model that nothing here loads."""
    write_run(path, 0, 1)
    replace_json(path / "manifest.json", sealed(path, read_json(path / "manifest.json")))
    (path / "final").mkdir()
    (path / "final" / "config.json").write_text(json.dumps({}))
    return path


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("verb", WORDS)
def test_an_edited_run_is_refused_by_the_name_of_the_file(
    verb: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended_run(Path("other"))
    file = ended_run(Path("run")) / name
    text = file.read_text(encoding="utf-8")
    file.write_text(EDITS[name](text), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != text
    main = importlib.import_module(f"cada_trl.{VERBS[verb]}{'.__main__' if verb == 'report' else ''}").main
    with pytest.raises(UserError, match=rf"^run/{name} was edited after it was written: .*; restore it, or move"):
        main(WORDS[verb].replace("RUN", "run").split())
    assert not Path("out").exists()


@pytest.mark.parametrize("name", EDITS)
def test_an_evaluations_page_does_not_take_the_edited_file_of_its_training(name: str, tmp_path: Path) -> None:
    run = ended_run(tmp_path / "run")
    model = {"source": "folder", "path": str(run / "final")}
    assert of_training(model, name)
    (run / name).write_text(EDITS[name]((run / name).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=f"{name} was edited after it was written"):
        of_training(model, name)
