"""A dry run starts nothing and says what is known of time, memory and judge calls, or ten lines of a training."""

import pytest
import yaml

from cada_trl.config import Config, load_config, run_name
from cada_trl.errors import UserError
from cada_trl.jobs import estimate
from cada_trl.jobs.estimate import dry_run_lines, n_steps, sweep_costs
from cada_trl.jobs.grid import make_grid, read_request
from cada_trl.train import main

from .stub_verb import write_run

pytestmark = pytest.mark.slow

JUDGED = [
    *("judge=rubric", "max_steps=10", "requests_per_step=24", "micro_batch=8"),
    *("n_probe_harmful=5", "n_probe_harmless=5"),
]


def costs(words, *asked):
    return [*sweep_costs(make_grid(words, read_request(asked).evaluation)).values()]


def hours(sweep, *words):
    return [cost.hours for cost in costs([*sweep.of_training, "max_steps=20", *words])]


def measured(sweep, *words, step_s=90.0, rollout_s=60.0):
    write_run(load_config([*sweep.of_training, *words]), step_s, rollout_s)


def test_hours_come_from_the_measured_steps_of_such_a_run(sweep):
    measured(sweep, "beta_kl=0.01")
    # 20 steps of 90 s; the run's own 30 s are less than its one step, so nothing is left for the rest
    assert hours(sweep, "beta_kl=0.1") == [pytest.approx(20 * 90 / 3600)]


def test_more_work_in_a_step_stretches_the_measured_time_part_by_part(sweep):
    measured(sweep, "beta_kl=0.01")
    assert hours(sweep, "rollouts_per_request=2,4") == [pytest.approx(20 * 90 * n / 3600) for n in (2, 4)]
    # fewer cases to read before sampling: that part alone is shorter
    (bare,) = hours(sweep, "prompt=no_cases")
    assert bare is not None and 20 * 30 / 3600 < bare < 20 * 80 / 3600
    # learning on the long prompt: sampling takes what it took, the update longer but for the anchors' raw half
    (on_rollout,) = hours(sweep, "learn_on=rollout")
    assert on_rollout is not None and on_rollout > 20 * (60 + 1.25 * 30) / 3600


def test_the_run_with_the_nearest_step_is_taken(sweep):
    measured(sweep)
    measured(sweep, "rollouts_per_request=4", step_s=200.0, rollout_s=100.0)
    assert hours(sweep, "rollouts_per_request=4", "beta_kl=0.1") == [pytest.approx(20 * 200 / 3600)]


def test_hours_are_unknown_where_no_such_run_was_measured(sweep):
    measured(sweep, "beta_kl=0.01")
    assert hours(sweep, "peft=lora") == [None]
    assert sweep("peft=none,lora", "beta_kl=0.1", "max_steps=20", "--dry-run") == 0
    assert "in all: 0.5 h and 1 of 2 unknown" in sweep.said()


def test_a_dry_run_starts_and_writes_nothing(sweep):
    assert sweep("ablation=kl", "--dry-run") == 0
    out = sweep.said()
    assert "question: What does the weight of the KL" in out and out.count("unknown") >= 3
    assert "Nothing was started" in out
    assert sweep.n_starts() == 0 and not (sweep.folder / "sweeps").exists()


def test_a_dry_run_says_how_a_file_of_ones_own_is_read_or_refuses_it(sweep):
    file = sweep.folder / "mine.csv"
    file.write_text("text,harmful\nLie.,1\nSing.,0\n")
    own = ("evaluate=quick", f"evaluate.benchmarks={file}", "evaluate.judge=strongreject", "evaluate.attacks=none")
    assert sweep("beta_kl=0.0,0.1", *own, "--dry-run", f"evaluate.data_root={sweep.folder}") == 0
    out = sweep.said()
    assert out.count(f"benchmarks={file}: text from 'text', harmful from 'harmful' (1 harmful, 1 harmless)") == 1
    assert "at most 6 judge calls" in out  # two rows of three models
    file.write_text("text\nLie.\n")
    with pytest.raises(UserError, match="no column says which rows are harmful"):
        sweep("beta_kl=0.0,0.1", *own)
    assert sweep.n_starts() == 0


@pytest.mark.parametrize("axis", ["requests_per_step=4096,16", "requests_per_step=16,4096"])
def test_a_dry_run_reads_what_each_cell_would_whichever_stands_last(axis, sweep):
    with pytest.raises(UserError, match="60 harmful requests to train on are fewer than the 2048 per step"):
        sweep(axis, "n_train=60", "--dry-run")


def test_a_dry_run_says_what_is_done(sweep):
    measured(sweep, "beta_kl=0.0")
    assert sweep("beta_kl=0.0,0.1", "--dry-run") == 0
    out = sweep.said()
    assert [line for line in out.splitlines() if "beta_kl=0 s0" in line and "done" in line]
    assert [line for line in out.splitlines() if "beta_kl=0.1 s0" in line and "done" not in line]


def test_judge_calls_are_counted_for_a_judge_that_is_asked():
    initial, cell = costs(JUDGED, "evaluate=quick", "evaluate.judge=strongreject", "evaluate.data_root=sets")
    assert initial.judge_calls == 4 * 25 * 3  # quick: four benchmarks of 25 under three attacks, at most
    # 10 steps of 24, of which 12 are anchors that no judge sees; two probe passes over two harmful and two harmless
    # sets of 5, and the evaluation
    assert cell.judge_calls == 10 * 12 + 2 * 2 * (5 + 5) + 300


def test_every_turn_of_an_adaptive_attack_is_judged_beside_its_last_answer():
    attacker = ("evaluate.attacker_base_url=http://a/v1", "evaluate.attacker_llm=m", "evaluate.n_streams=2")
    asked = ("evaluate=quick", "evaluate.benchmarks=strongreject", "evaluate.attacks=none,pair_adaptive", *attacker)
    initial, _ = costs(["judge=phrases"], *asked, "evaluate.judge=rubric", "evaluate.n_iterations=3")
    assert initial.judge_calls == 25 * (1 + 1 + 2 * 3)


@pytest.mark.parametrize(
    ("word", "calls"),
    [
        ("reward=judged_reasoning", 2 * 10 * 12 + 40),  # grading the reasoning takes a second call per completion
        ("benign_tok=null", 10 * 24 + 40),  # harmless rollouts that are no anchors are judged
        ("judge=phrases", 0),
    ],
)
def test_judge_calls_are_those_of_judged_rollouts_and_probes(word, calls):
    key = word.partition("=")[0]
    (cost,) = costs([*(other for other in JUDGED if not other.startswith(f"{key}=")), word])
    assert cost.judge_calls == calls and cost.memory_gb > 2.0


def test_each_process_judges_the_whole_probe():
    (cost,) = costs([*JUDGED, "hardware=a100x4", "micro_batch=2"])
    assert cost.judge_calls == 10 * 12 + 4 * 40


def test_without_max_steps_an_epoch_goes_over_the_requests_that_the_settings_say():
    words = ["max_steps=null", "epochs=1.0", "requests_per_step=10", "benign_frac=0.0", "micro_batch=1"]
    assert n_steps(load_config([*words, "n_train=100"])) == 10
    assert n_steps(load_config([*words, "data=paper"])) == 50


NAMES = ["model", "requests", "method", "a step", "time", "memory", "run folder", "launcher", "missing here", "next"]


def lines_of(*overrides):
    return dict(line.split(": ", 1) for line in dry_run_lines(load_config([*overrides]), [*overrides]))


@pytest.mark.parametrize(
    ("model", "hardware"),
    [("smollm2", "cpu"), ("smollm2", "gpu"), ("llama3", "a100x4"), ("deepthought", "a100x4"), ("llama3_70b", "a100x4")],
)
def test_a_dry_run_of_every_model_is_ten_lines_and_ends_with_the_command(model, hardware, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # in a checkout in which `make train` ran, its requests are prepared
    overrides = [f"model={model}", f"hardware={hardware}", "data=twins"]
    lines = lines_of(*overrides)
    assert list(lines) == NAMES
    assert lines["requests"] == "data=twins: 7324 rows to read, before the filters"
    assert lines["launcher"].endswith(f"-m cada_trl.train {' '.join(overrides)}")
    assert lines["run folder"] == f"runs/{run_name(load_config(overrides))}"
    assert lines["next"] == f"python -m cada_trl.train {' '.join(overrides)}   (every value: --config)"


def test_a_dry_run_says_what_would_be_trained():
    lines = lines_of("algo=cada", "seed=3", "max_steps=7", "runs_dir=none_is_there")
    assert lines["method"] == "cada, prompt=cases, judge=phrases, seed 3"
    assert "135 M parameters in float32" in lines["model"]
    assert lines["time"].startswith("7 steps of at most ")
    assert " GB per process at the longest sequences of " in lines["memory"]
    lines = lines_of("model=deepthought", "hardware=a100x4", "rollouts_per_request=2", "data=twins")
    assert lines["a step"] == "128 rollouts = 64 requests x 2; 16 micro-batches of 2 on 4 process(es)"


def test_a_measured_run_gives_the_time(monkeypatch):
    monkeypatch.setattr(estimate, "measured_runs", lambda folder: [folder])
    monkeypatch.setattr(estimate, "train_hours", lambda config, runs: 0.25 if runs == ["runs"] else None)
    assert lines_of("max_steps=7")["time"] == "7 steps, 0.2 h with both probes, as runs like it in runs took"


@pytest.mark.parametrize("flags", [["--dry-run"], ["--config"], ["--config", "--dry-run"]])
def test_each_flag_shows_what_it_names_and_nothing_is_started_or_written(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["beta_kl=0.5", *flags]) == 0
    page, _, lines = capsys.readouterr().out.rpartition("\n\n")
    if "--config" in flags:
        assert Config.model_validate(yaml.safe_load(page)) == load_config(["beta_kl=0.5"])
    assert [line.partition(": ")[0] for line in lines.splitlines()] == (NAMES if "--dry-run" in flags else [])
    assert list(tmp_path.iterdir()) == []
