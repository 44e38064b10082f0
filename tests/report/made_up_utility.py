"""Made-up utility folders, as the utility verb leaves them."""

import yaml

from cada_trl.records import write_jsonl
from cada_trl.statistics.intervals import Rate
from cada_trl.storage.files import replace_json


def write_utility(path, tasks, model=None):
    """tasks: lm-eval task -> whether each question was right. Every task has 10 published questions."""
    for task, correct in tasks.items():
        folder = path / f"{task}-00000000"
        (folder / "definitions").mkdir(parents=True)
        rows = [
            {"subset": "all", "row": row, "doc_sha256": f"doc {row}", "correct": {"flexible-extract": one}}
            for row, one in enumerate(correct)
        ]
        write_jsonl(folder / "samples.jsonl", rows)
        replace_json(folder / "result.json", result(task, correct))
    default = {"name": "made-up", "source": "folder", "path": "models/made-up", "dtype": "float32"}
    (path / "config.yaml").write_text(yaml.safe_dump({"model": dict(model or default)}))
    identity = {"model.safetensors": "cd" * 32}
    facts = {"exit_state": "done", "model": {"identity": identity}, "tasks": list(tasks), "decides": {}}
    replace_json(path / "manifest.json", facts)
    return path


def result(task, correct):
    rate = Rate.of(correct)
    low, high = rate.interval
    accuracy = {"value": rate.value, "low": low, "high": high, "n": rate.n, "asked": rate.asked}
    plan = {"task": {"name": task, "num_fewshot": 0, "chat_template": True, "filter": "flexible-extract"}}
    return {
        "task": task,
        "n_published": 10,
        "accuracy": accuracy,
        "lm_eval": {"accuracy": rate.value, "stderr": (rate.value * (1 - rate.value) / rate.n) ** 0.5},
        "other_filters": {"strict-match": {**accuracy, "value": 0.0, "low": 0.0}},
        "plan": plan,
        "prompts_cut": 2,
        "wall_s": 61.0,
    }
