"""Targets that SFT and DPO learn to say: the model's own completions of training requests, sampled as CADA's rollouts
are, or one fixed refusal; which are kept, and why the others are not.

Samples lie under data_dir by content, in targets-<hash8>/: manifest.json (what decided them), samples.jsonl (a row per
request). Methods that ask for the same samples share them; a killed run goes on after its last whole batch. Every count
goes to the manifest and the page. No torch before anything is sampled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.hazards.pack import pack_hash
from cada_trl.models.named import model_identity
from cada_trl.records import Verdict, read_jsonl, write_jsonl
from cada_trl.reward import ScoredCompletion
from cada_trl.storage.digest import content_hash
from cada_trl.storage.files import held, read_json, replace_json
from cada_trl.storage.log import AppendLog
from cada_trl.training.run import Run

Row = dict[str, Any]
NOTED = "targets.jsonl"  # in the run folder


@dataclass(frozen=True)
class Target:
    """What is to be said to a raw request."""

    request_id: str
    request: str
    harmful: bool
    text: str
    ended: bool = True


def make_targets(run: Run, unequal_to: str | None = None) -> list[Target]:
    """The targets of a run, harmful ones first; samples and reasons are in the run folder's targets.jsonl.

    unequal_to: DPO's rejected answer; a target equal to it is dropped, and one that was cut off, since DPO compares
    whole answers. Errors: UserError with the reasons when no harmful target is kept, or none of the harmless ones that
    the batch holds.
    """
    from accelerate import PartialState
    from accelerate.utils import gather_object
    from transformers import TrainingArguments

    algo = run.config.algo
    from_model = algo.targets == "own"
    folder, rows = sampled(run, with_harmful=from_model) if from_model or algo.benign_per_step else (None, [])
    # One process decides for all: a judge may answer each otherwise. Without the state, ranks on CPUs pass for one; the
    # others wait for the judge as long as for a step.
    PartialState(cpu=run.config.hardware.device == "cpu", timeout=timedelta(seconds=TrainingArguments.ddp_timeout))
    reasons = gather_object(_reasons(run, rows, unequal_to) if run.folder.is_main else [])
    one_text, is_whole = str(algo.refusal_text), algo.targets != "opening"  # paper: SFT w DR
    fixed = [] if from_model else [Target(one.id, one.text, True, one_text, is_whole) for one in run.data.train]
    targets = fixed + [
        Target(row["request_id"], row["request"], row["harmful"], row["completion"].strip(), not row["truncated"])
        for row, reason in zip(rows, reasons, strict=True)
        if reason is None
    ]
    report = counts(len(fixed), rows, reasons) | {"samples": str(folder) if folder else None}
    if run.folder.is_main:
        noted = [{**row, "dropped": reason} for row, reason in zip(rows, reasons, strict=True)]
        write_jsonl(run.folder.path / NOTED, noted)
    run.note("targets", report)
    asked = {"harmful": algo.benign_per_step < algo.requests_per_step, "harmless": algo.benign_per_step > 0}
    check_kept(report, [kind for kind, is_asked in asked.items() if is_asked])
    run.say(f"targets: {in_words(report)}")
    return sorted(targets, key=lambda target: not target.harmful)


def _reasons(run: Run, rows: list[Row], unequal_to: str | None) -> list[str | None]:
    """Why each is no target. A run that goes on from a checkpoint keeps what it began with, whatever a judge that was
    silent says now: the kept ones decide the order of the steps."""
    noted = run.folder.path / NOTED
    if noted.is_file() and any(run.folder.checkpoints.iterdir()):
        before = [row for _, row in read_jsonl(noted)]
        reasons = [row.pop("dropped") for row in before]
        if before == rows:
            return reasons
    texts, cut = [row["completion"] for row in rows], [row["truncated"] for row in rows]
    rejects = run.config.algo.keep == "reasoned_refusal"
    scored = run.score(rows, texts, cut) if rejects and rows else [None] * len(rows)
    return [
        reason_to_drop(row["completion"], row["truncated"], row["harmful"], paid, unequal_to)
        for row, paid in zip(rows, scored, strict=True)
    ]


def reason_to_drop(
    completion: str,
    truncated: bool,
    harmful: bool,
    scored: ScoredCompletion | None = None,
    unequal_to: str | None = None,
) -> str | None:
    """Why a sample is no target; None keeps it. scored: reject what the reward does not pay in full as well.

    A harmless answer that was cut off is kept as a beginning (ours: a model that answers at length would otherwise
    have little harmless to learn from, and refuse it), except beside a rejected answer.
    """
    text = completion.strip()
    reasons = {
        "truncated": truncated and (harmful or unequal_to is not None),
        "empty": not text,
        "equal_to_the_rejected_answer": unequal_to is not None and text == unequal_to.strip(),
    }
    if scored is not None:
        reasons |= {
            "unscored": scored.verdict is Verdict.UNSCORED,
            "refused_a_harmless_request": not harmful and scored.verdict is Verdict.REFUSED,
            "complied": harmful and scored.verdict is Verdict.COMPLIED,
            "refused_without_both_headers": harmful and not scored.reasoning.reasoned,
        }
    return next((reason for reason, holds in reasons.items() if holds), None)


def counts(n_fixed: int, rows: Sequence[dict[str, Any]], reasons: Sequence[str | None]) -> dict[str, dict[str, Any]]:
    """{"harmful" | "harmless": {"fixed", "sampled", "kept", "dropped": {reason: n}}}."""
    report = {}
    for name, is_harmful in (("harmful", True), ("harmless", False)):
        mine = [reason for row, reason in zip(rows, reasons, strict=True) if row["harmful"] == is_harmful]
        given = n_fixed if is_harmful else 0
        dropped = Counter(reason for reason in mine if reason)
        kept = given + sum(reason is None for reason in mine)
        report[name] = {"fixed": given, "sampled": len(mine), "kept": kept, "dropped": dict(dropped.most_common())}
    return report


def check_kept(report: dict[str, Any], kinds: Sequence[str]) -> None:
    """Errors: UserError when nothing is left to learn from of a kind that the steps hold."""
    for name in kinds:
        if not report[name]["kept"]:
            raise UserError(
                f"no target is left for {name} requests: {_words(report[name])}; "
                "look at targets.jsonl in the run folder, raise max_new_tok or choose another prompt or keep"
            )


def in_words(report: dict[str, Any]) -> str:
    """`kept 180 of 256 harmful (70 complied, 6 truncated), ...`."""
    return "; ".join(
        f"{name}: {_words(report[name])}"
        for name in ("harmful", "harmless")
        if report[name]["kept"] or report[name]["sampled"]
    )


def _words(part: dict[str, Any]) -> str:
    if part["fixed"]:
        return f"one fixed text for {part['fixed']} requests"
    dropped = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in part["dropped"].items())
    return f"kept {part['kept']} of {part['sampled']} samples" + (f" (dropped: {dropped})" if dropped else "")


def sampled(run: Run, with_harmful: bool) -> tuple[Path, list[Row]]:
    """The folder and a row per request: request_id, request, hazard, harmful, completion, truncated, completion_tok.

    As many requests as CADA samples in the run's steps, the same ones; with_harmful=False leaves the harmful out.
    Errors: UserError for a folder that cannot be written, or a damaged file in it.
    """
    from accelerate.utils import release_memory

    rows = [row for row in _asked(run) if with_harmful or not row["harmful"]]
    decides = _decides(run, rows)
    folder = Path(run.config.data_dir) / f"targets-{content_hash(decides)}"
    if rows and not _is_whole(folder, len(rows)):
        # a second run waits: it then finds the samples
        lock, waiting = folder / "targets.lock", f"another run samples these targets into {folder}; waiting for it"
        with held(lock, None, waits=lambda: run.say(waiting)) if run.folder.is_main else nullcontext():
            _sample(run, rows, folder, decides)
        release_memory()  # the method loads the policy anew
    samples = {row["request_id"]: row for _, row in read_jsonl(folder / "samples.jsonl")} if rows else {}
    if lost := [row["request_id"] for row in rows if row["request_id"] not in samples]:
        raise UserError(
            f"{folder / 'samples.jsonl'} lacks {len(lost)} of its samples, such as {lost[0]}; without "
            f"{folder / 'manifest.json'} the same command samples them again"
        )
    return folder, [samples[row["request_id"]] for row in rows]


def _asked(run: Run) -> list[Row]:
    """Dataset rows of the requests that the run's steps ask, ordered so that prompts with one head stand together."""
    from cada_trl.training.requests import rollout_dataset, step_sampler

    data = run.data
    rows = rollout_dataset(run.config, data.train, data.benign_train, run.pack)
    sampler = step_sampler(run.config, data.train, data.benign_train)
    left, chosen = run.n_steps * run.config.algo.requests_per_step, dict[int, None]()
    for epoch in range(run.n_steps):
        sampler.set_epoch(epoch)
        visited = list(sampler)[:left]
        chosen |= dict.fromkeys(visited)
        left -= len(visited)
        if not left:
            break
    return sorted(
        (rows[index] for index in chosen), key=lambda row: (row["prompt_arm"], row["hazard"], row["request_id"])
    )


def _decides(run: Run, rows: Sequence[Row]) -> Row:
    """Everything that a sample follows from; where it ran is left out."""
    config, manifest = run.config, run.manifest
    return {
        "model": model_identity(config.model),
        "read_as": config.model.model_dump(include={"dtype", "context_tok", "eos", "pad"}),
        "prompt": config.prompt.model_dump(),
        "benign_arm": config.algo.benign_arm,
        "requests_per_step": config.algo.requests_per_step,  # as many are sampled under one seed
        "rollout": config.rollout.model_dump(exclude={"server_url", "tensor_parallel"}),
        "seed": config.seed,
        "request_set": manifest["data_hash"],
        "hazards": pack_hash(run.pack),
        "chat_template": manifest["template_hash"],
        "requests": [row["request_id"] for row in rows],
    }


def _is_whole(folder: Path, n: int) -> bool:
    try:
        return bool(read_json(folder / "manifest.json", "")["n"] == n)
    except (UserError, KeyError):
        return False


def _sample(run: Run, rows: Sequence[Row], folder: Path, decides: Row) -> None:
    """Fill samples.jsonl batch by batch; every process samples its share, the main one writes."""
    from accelerate.utils import gather_object

    from cada_trl.training.cada import build

    config = run.config
    log = AppendLog(folder / "samples.jsonl") if run.folder.is_main else None
    trainer = build(run, lambda *_: None)
    done = set(gather_object([row["request_id"] for row in log.rows] if log else []))
    size = config.algo.requests_per_step
    for number, start in enumerate(range(0, len(rows), size)):
        batch = rows[start : start + size]
        if not all(row["request_id"] in done for row in batch):
            new = _batch(trainer, batch, config.seed * 1_000_003 + number)
            if log:
                log.append(row for row in new if row["request_id"] not in done)
        run.say(f"sampling targets: {start + len(batch)}/{len(rows)}")
    if log:
        replace_json(folder / "manifest.json", {"n": len(rows), "decides": decides})
    trainer.accelerator.wait_for_everyone()


def _batch(trainer: Any, batch: Sequence[Row], seed: int) -> list[Row]:
    """The batch's rows with their completions, on every process; filled up with its own head to equal shares."""
    from accelerate.utils import gather_object

    n_ranks, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    share = -(-len(batch) // n_ranks)
    filled = [batch[index % len(batch)] for index in range(share * n_ranks)]
    mine = filled[rank * share : (rank + 1) * share]
    rows = []
    for row, ids in zip(mine, trainer.sample(mine, seed), strict=True):
        kept = {key: row[key] for key in ("request_id", "request", "hazard", "harmful", "prompt_arm")}
        text = trainer.processing_class.decode(ids, skip_special_tokens=True)
        cut = not ids or ids[-1] not in trainer.eos_token_ids
        rows.append({**kept, "completion": text, "completion_tok": len(ids), "truncated": cut})
    everyone: list[Row] = gather_object(rows)
    return everyone[: len(batch)]
