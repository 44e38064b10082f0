import io

from rich.console import Console

from cada_trl.console import duration
from cada_trl.tracking.progress import StepProgress, step_text

METRICS = {
    "train/reward_mean": 0.25,
    "train/kl_nats": 0.01234,
    "train/reasoned_refusal_frac": 0.5,
    "train/direct_refusal_frac": 0.25,
    "train/comply_frac": 0.25,
    "train/unscored_frac": 0.0,
    "train/step_s": 10.0,
}


def shown(terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    with StepProgress(8, console=console) as progress:
        for step in (1, 2):
            progress.update(step, METRICS)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_log_file_gets_one_plain_line_a_step():
    lines = shown(terminal=False).splitlines()
    assert len(lines) == 3
    assert lines[0] == "step 0/8  the next step is under way"
    assert lines[2].startswith("step 2/8  ETA 1:00")  # six steps of the 10 s that both took, whatever the clock says
    assert lines[2].endswith("reward +0.25  KL 0.0123 nats  reasoned 50%  direct 25%  complied 25%  unscored 0%")


def test_a_terminal_gets_a_live_line():
    text = shown(terminal=True)
    assert "\x1b[" in text
    assert "2/8" in text
    assert "reward +0.25" in text


def test_what_was_not_measured_reads_as_absent_and_not_as_zero():
    text = step_text({"train/reward_mean": float("nan")})
    assert text == "reward n/a  KL n/a  reasoned n/a  direct n/a  complied n/a  unscored n/a"


def test_a_duration_reads_as_a_clock():
    assert [duration(5), duration(125.4), duration(3723)] == ["0:05", "2:05", "1:02:03"]
