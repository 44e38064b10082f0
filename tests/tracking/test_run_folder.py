import json

import pytest
import yaml

from cada_trl.config import check_config, load_config
from cada_trl.errors import UserError
from cada_trl.tracking.run_folder import RunFolder


def steps(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def write_three_steps(folder):
    folder.write_probe("before", 0, [{"set": "harmful"}], {"probe/harmful/refused_frac": 0.5})
    for step in (1, 2, 3):
        folder.append_train(step, {"train/reward_mean": step / 10})
        folder.write_completions(step, [{"step": step, "reward": None}])
    folder.write_probe("step_000002", 2, [{"set": "harmful"}], {"probe/harmful/refused_frac": 0.6})
    folder.write_probe("after", 3, [{"set": "harmful"}], {"probe/harmful/refused_frac": 0.7})


def test_a_new_folder_has_the_layout(tmp_path):
    with RunFolder(tmp_path / "runs" / "a") as folder:
        write_three_steps(folder)
        assert steps(folder.path / "train.jsonl") == [1, 2, 3]
        assert folder.checkpoints.is_dir()
        names = {path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*.jsonl")}
    assert names == {
        "train.jsonl",
        "probes.jsonl",
        *(f"completions/step_00000{step}.jsonl" for step in (1, 2, 3)),
        *(f"probes/{name}.jsonl" for name in ("before", "step_000002", "after")),
    }


@pytest.mark.parametrize("words", [[], ["model=llama3", "held_out_hazards=[hate,privacy]"]])
def test_the_written_config_reads_back_equal(tmp_path, words):
    config = load_config(words)
    with RunFolder(tmp_path / "a") as folder:
        folder.write_config(config)
        assert check_config(yaml.safe_load((folder.path / "config.yaml").read_text())) == config


@pytest.mark.parametrize(
    ("step", "trained", "probed", "probes"),
    [(1, [1], [0], {"before"}), (3, [1, 2, 3], [0, 2], {"before", "step_000002"})],
)
def test_resuming_drops_what_came_after_the_step_and_the_probe_after_training(step, trained, probed, probes, tmp_path):
    with RunFolder(tmp_path / "a") as folder:
        write_three_steps(folder)
        folder.truncate_after(step)
        assert (steps(folder.path / "train.jsonl"), steps(folder.path / "probes.jsonl")) == (trained, probed)
        assert sorted(int(path.stem[5:]) for path in (folder.path / "completions").iterdir()) == trained
        assert {path.stem for path in (folder.path / "probes").iterdir()} == probes


def test_a_probe_that_is_made_again_drops_its_own_line_and_no_step(tmp_path):
    with RunFolder(tmp_path / "a") as folder:
        write_three_steps(folder)
        folder.truncate_after(3, ("before", "after"))
        assert (steps(folder.path / "train.jsonl"), steps(folder.path / "probes.jsonl")) == ([1, 2, 3], [2])
        assert {path.stem for path in (folder.path / "probes").iterdir()} == {"step_000002"}


def test_a_line_torn_by_a_kill_is_dropped_on_resume(tmp_path):
    with RunFolder(tmp_path / "a") as folder:
        write_three_steps(folder)
        with (folder.path / "train.jsonl").open("a") as file:
            file.write('{"step": 4, "train/rew')
        folder.truncate_after(9)
        folder.append_train(4, {})
        assert steps(folder.path / "train.jsonl") == [1, 2, 3, 4]


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path):
    with RunFolder(tmp_path / "a") as folder:
        (folder.path / "train.jsonl").write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
        with pytest.raises(UserError, match=r"train.jsonl, row 2: not a JSON object"):
            folder.truncate_after(3)


def test_an_unscored_reward_is_null_on_disk(tmp_path):
    with RunFolder(tmp_path / "a") as folder:
        folder.write_completions(1, [{"reward": float("nan"), "advantage": 0.5}])
        text = (folder.path / "completions" / "step_000001.jsonl").read_text()
    assert json.loads(text) == {"reward": None, "advantage": 0.5}


def test_a_metric_that_the_registry_does_not_hold_is_refused(tmp_path):
    with RunFolder(tmp_path / "a") as folder, pytest.raises(ValueError, match="unknown metric"):
        folder.append_train(1, {"train/rewards": 1.0})
