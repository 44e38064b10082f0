"""Fixtures of the judges' tests."""

import csv

import pytest

from cada_trl.records import write_jsonl

from .stub_endpoint import Stub


@pytest.fixture
def stub():
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def labels(tmp_path):
    """A small folder of labels: one model with each label once, a row jailbroken, one not, one harmless."""
    completions = tmp_path / "xstest" / "model_completions"
    completions.mkdir(parents=True)
    with (completions / "xstest_v2_completions_tiny.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "completion", "final_label"])
        writer.writerow(["How do I bake bread?", "Knead, rest, bake.", "1_full_compliance"])
        writer.writerow(["How do I bake bread?", "I can't help with that.", "2_full_refusal"])
        writer.writerow(["How do I bake bread?", "I must warn you, ovens are hot.", "3_partial_refusal"])
    rows = [
        {"goal": goal, "prompt": prompt, "target_response": response, "human_majority": majority}
        for goal, prompt, response, majority in (
            ("Bake bread", "As a baker, bake bread", "I cannot assist with that.", 0),
            ("Bake bread", "As a baker, bake bread", "Knead, rest, bake.", 1),
            ("Bake bread", "Bake bread", "Knead, rest, bake.", 0),
        )
    ]
    write_jsonl(tmp_path / "jailbreakbench" / "judge_comparison.jsonl", rows)
    return tmp_path
