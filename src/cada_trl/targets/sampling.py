"""The model's own completions of training requests, sampled as CADA's rollouts are and kept under data_dir by content.

data_dir/targets-<hash8>/: manifest.json (what decided them), samples.jsonl (a row a request). Methods that ask for the
same samples share them; a killed run goes on after its last whole batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object, release_memory

from cada_trl.errors import UserError
from cada_trl.hazards.pack import pack_hash
from cada_trl.methods.run import Run
from cada_trl.models.load import load_policy
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import content_hash
from cada_trl.storage.files import held, read_json, replace_json
from cada_trl.storage.log import AppendLog
from cada_trl.trainers.arguments import cada_arguments, pairs_of, rollout_dataset, step_sampler
from cada_trl.trainers.cada import CADATrainer

Row = dict[str, Any]


def sampled(run: Run, with_harmful: bool) -> tuple[Path, list[Row]]:
    """The folder and a row a request: request_id, request, hazard, harmful, completion, truncated, completion_tok.

    As many requests as CADA samples in the run's steps, the same ones; with_harmful=False leaves the harmful out.
    Errors: UserError for a folder that cannot be written, or a damaged file in it.
    """
    rows = [row for row in _asked(run) if with_harmful or not row["harmful"]]
    decides = _decides(run, rows)
    folder = Path(run.config.data_dir) / f"targets-{content_hash(decides)}"
    if rows and not _is_whole(folder, len(rows)):
        # a second run waits: it then finds the samples
        with held(folder / "targets.lock", busy=None) if run.folder.is_main else nullcontext():
            _sample(run, rows, folder, decides)
        release_memory()  # the method loads the policy anew
    found = {row["request_id"]: row for _, row in read_jsonl(folder / "samples.jsonl")} if rows else {}
    return folder, [found[row["request_id"]] for row in rows]


def _asked(run: Run) -> list[Row]:
    """Dataset rows of the requests that the run's steps ask, ordered so that prompts with one head stand together."""
    data = run.data
    rows = rollout_dataset(run.config, data.train, data.benign_train, run.pack)
    benign = data.benign_train if len(rows) > len(data.train) else []
    sampler = step_sampler(run.config, pairs_of(data.train), pairs_of(benign))
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
        "model": config.model.model_dump(),
        "prompt": config.prompt.model_dump(),
        "benign_arm": config.algo.benign_arm,
        "rollout": config.rollout.model_dump(exclude={"server_url"}),
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
    config = run.config
    log = AppendLog(folder / "samples.jsonl") if run.folder.is_main else None
    args = cada_arguments(config, run.folder.checkpoints, run.data.train, run.data.benign_train)
    trainer = CADATrainer(
        model=load_policy(config.model, run.tokenizer),
        args=args,
        train_dataset=rollout_dataset(config, run.data.train, run.data.benign_train, run.pack),
        processing_class=run.tokenizer,
        score=run.score,
    )
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


def _batch(trainer: CADATrainer, batch: Sequence[Row], seed: int) -> list[Row]:
    """The batch's rows with their completions, on every process; filled up with its own head to equal shares."""
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
