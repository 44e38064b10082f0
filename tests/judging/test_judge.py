"""judging.judge: the configuration names the judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.config import JudgeConfig
from cada_trl.errors import UserError
from cada_trl.judging.judge import make_judge
from cada_trl.judging.phrases import PhraseJudge


def test_kind_phrases_is_the_offline_judge_and_writes_no_cache(judge_config: dict[str, object], tmp_path: Path) -> None:
    judge = make_judge(JudgeConfig.model_validate(judge_config), tmp_path)
    assert isinstance(judge, PhraseJudge)
    assert list(tmp_path.iterdir()) == []


def test_kind_rubric_without_a_model_is_a_users_mistake(judge_config: dict[str, object]) -> None:
    with pytest.raises(UserError, match="llm and base_url"):
        make_judge(JudgeConfig.model_validate(judge_config | {"kind": "rubric"}))


def test_no_judge_imports_torch() -> None:
    modules = "cada_trl.judging.rubric, cada_trl.judging.calibrate, cada_trl.judging.phrases"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
