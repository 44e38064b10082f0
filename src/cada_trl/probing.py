"""The probes of a run: held-out requests given raw, before the training, every few steps and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cada_trl.records import read_jsonl
from cada_trl.training.probes import header_logp_n, header_metrics, mean_nll_nats, probe, summary
from cada_trl.training.run import Run, Trained


def probe_run(run: Run, trainer: Trained, name: str, step: int) -> list[dict[str, Any]]:
    """Sample, judge and record the held-out requests, raw; the rows, on every process."""
    tracking, data = run.config.tracking, run.data
    sets = {
        "harmful": data.probe[: tracking.n_probe_harmful],
        "held_out": data.held_out[: tracking.n_probe_harmful],
        "harmless": data.harmless_probe[: tracking.n_probe_harmless],
        "xstest_safe": data.xstest_safe_probe[: tracking.n_probe_harmless],
    }
    sets = {key: requests for key, requests in sets.items() if requests}
    progress = _counter(run.say, f"probe {name}, held-out requests given raw", sum(map(len, sets.values())))
    before_file = run.folder.path / "probes" / "before.jsonl"
    rows: list[dict[str, Any]] = []
    harmless: list[dict[str, Any]] = []
    if sets:  # a model that is gathered whole need not fit where nothing is asked
        with trainer.sampling_model() as model:
            rows = probe(model, run.tokenizer, sets, run.config, run.judge, progress)
            before = rows if name == "before" else [row for _, row in read_jsonl(before_file)]
            harmless = [row for row in before if row["set"] == "harmless"]
            nll_nats = mean_nll_nats(model, run.tokenizer, harmless)
    values = summary(rows) | header_of_run(run, trainer) | ({"probe/harmless/nll_nats": nll_nats} if harmless else {})
    run.folder.write_probe(name, step, rows, values)
    run.mirror.log(step, values)
    run.mirror.probe(step, rows)
    return rows


def header_of_run(run: Run, trainer: Trained) -> dict[str, float]:
    """How well P(header | raw request) tells held-out twins apart now; empty where none are asked."""
    tracking = run.config.tracking
    requests = run.data.twins_probe[: 2 * tracking.n_header_pairs]
    if not requests:
        return {}
    with trainer.sampling_model() as model:
        texts, form = [request.text for request in requests], run.config.prompt.reasoning_as
        logp_n = header_logp_n(model, run.tokenizer, texts, tracking.probe_batch, form)
    return header_metrics(logp_n, requests)


def _counter(say: Callable[[str], None], what: str, n_total: int) -> Callable[[int], None]:
    n_done = 0

    def progress(n: int) -> None:
        nonlocal n_done
        n_done += n
        say(f"{what}: {n_done}/{n_total}")

    return progress
