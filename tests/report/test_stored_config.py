"""A folder's config.yaml read back: a mapping, or one line that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.report.stored_config import read_config


def test_a_mapping_comes_back(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 3\n", encoding="utf-8")
    assert read_config(tmp_path / "config.yaml") == {"seed": 3}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1", "cannot be read as YAML"), ("- 1\n", "holds a list, expected a mapping"), (None, "cannot read")],
)
def test_a_damaged_or_missing_file_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said) as error:
        read_config(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
