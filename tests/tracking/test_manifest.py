import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest

from cada_trl.config import CONF_DIR
from cada_trl.tracking.manifest import build_manifest, earlier_s, finished, git_state, scrub

DATA = {"source": "twins", "licence": "Apache-2.0", "funnel": {"read": 10, "kept": 8}}


def test_the_manifest_says_what_is_needed_to_trace_a_number(config):
    manifest = build_manifest(config, DATA, {"judge_id": "phrases-12345678", "hazards_hash": "abcdef01"})
    assert manifest["seeds"] == {"run": 3}
    assert manifest["judge_id"] == "phrases-12345678"
    assert manifest["data"] == DATA
    assert manifest["packages"]["trl"] == "1.16.0"
    assert manifest["packages"]["cada_trl"] == version("cada_trl")
    assert manifest["template_hash"] is None
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_key_on_the_command_line_does_not_reach_the_manifest(config, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "base_url=https://me:pass1234@host/v1"])
    monkeypatch.setenv("CADA_TEST_SECRET", "value-of-a-variable")
    text = json.dumps(build_manifest(config, DATA, {}))
    assert "pass1234" not in text
    assert "value-of-a-variable" not in text


def test_a_changed_file_makes_the_checkout_dirty_and_outside_of_one_there_is_no_commit(tmp_path):
    assert git_state(tmp_path) is None

    def git(*words):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.hooksPath=/dev/null"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "a").write_text("1")
    (tmp_path / ".gitignore").write_text("/.venv/")
    (tmp_path / ".venv").mkdir()
    git("add", "a", ".gitignore")
    git("commit", "-m", "first")
    clean = git_state(tmp_path)
    (tmp_path / "a").write_text("2")
    dirty = git_state(tmp_path)
    assert clean is not None and dirty is not None
    assert (clean["dirty"], dirty["dirty"]) == (False, True)
    assert clean["commit"] == dirty["commit"]
    assert git_state(tmp_path / ".venv") is None  # an installed package is no part of whoever installed it


def test_what_a_verb_writes_by_default_does_not_make_its_own_checkout_dirty():
    text = "\n".join(file.read_text(encoding="utf-8") for file in CONF_DIR.rglob("*.yaml"))
    folders = set(re.findall(r"^ *\w+_dir: (?!null)(\w+)", text, re.MULTILINE)) | {"certificates", "logs"}
    assert {"runs", "data", "evals", "tables"} < folders
    asked = [*(f"{folder}/x" for folder in sorted(folders)), "slurm-7.log"]
    command = ["git", "-C", str(CONF_DIR.parent), "check-ignore", *asked]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    if said.returncode == 128:
        pytest.skip("this is no git checkout")
    assert said.stdout.split() == asked


def test_the_end_of_a_run_is_recorded_with_its_state_and_wall_time(config):
    manifest = {**build_manifest(config, DATA, {}), "started_utc": "2020-01-01T00:00:00+00:00"}
    end = finished(manifest, "failed: CUDA out of memory")
    assert end["exit_state"] == "failed: CUDA out of memory"
    assert end["wall_s"] > 1e8
    assert manifest["exit_state"] == "running"
    clock_was_set_back = {**manifest, "started_utc": "2999-01-01T00:00:00+00:00"}
    assert finished(clock_was_set_back, "done")["wall_s"] is None


def test_the_wall_time_of_a_run_is_that_of_all_its_calls_that_ended(config, tmp_path):
    def call(earlier):
        began = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
        return {**build_manifest(config, DATA, {"earlier_s": earlier}), "started_utc": began}

    def left(manifest):
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return earlier_s(tmp_path)

    assert earlier_s(tmp_path) == 0.0
    first = finished(call(0.0), "interrupted")
    assert left(first) == first["wall_s"] == pytest.approx(30, abs=5)
    killed = call(first["wall_s"])
    assert left(killed) == first["wall_s"]
    assert finished(call(left(killed)), "done")["wall_s"] == pytest.approx(60, abs=10)


# Put together here, so that no scanner takes these made-up values for real keys.
FAKE = "a1B2" * 8


@pytest.mark.parametrize(
    "text",
    [
        "hf_" + FAKE,
        "sk-" + FAKE,
        "sk-proj-" + FAKE,
        f"api_key={FAKE}",
        f"Authorization: Bearer {FAKE}",
        f"https://user:{FAKE}@host/v1",
        f"https://host/v1?token={FAKE}&x=1",
        f"https://host/{'0a' * 20}/v1",
    ],
)
def test_what_looks_like_a_key_is_hidden_at_any_depth(text):
    result = str(scrub({"a": [{"b": ("--x", text)}]}))
    assert FAKE not in result
    assert "0a" * 20 not in result
    assert "<hidden>" in result


@pytest.mark.parametrize(
    "text",
    [
        "api_key_env=OPENAI_API_KEY",
        "0843699154563f3a4b2e1f7e2febec34a4e0833b",
        "max_prompt_tok=256",
        "http://localhost:8000/v1",
        "task-based learning, risk-averse",
        "data_root=hf_datasets/public",
    ],
)
def test_names_commits_and_plain_addresses_stay(text):
    assert scrub([text]) == [text]
