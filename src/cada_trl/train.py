"""train: requests + model -> a run folder with the trained model, its curves and its report.

    python -m cada_trl.train model=smollm2 data=twins              (overrides: any key of hydra_conf/, by its bare name)
    python -m cada_trl.train model=deepthought hardware=a100x4 --dry-run      (what would run, in ten lines)
    ... --config                                                   (every value, and nothing is started)

The same command goes on after an interruption; where the run is done it only reports. What happens, top to bottom:
prepare, load, probe, train, probe, report.
"""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from cada_trl.config import Config, load_config, run_name
from cada_trl.config.loading import config_is_all, split_flags
from cada_trl.console import Console
from cada_trl.data.prepared import PreparedData, check_same_files, prepare
from cada_trl.errors import UserError, is_main_rank
from cada_trl.hazards.pack import HazardPack, load_pack, pack_hash
from cada_trl.judging.from_config import check_pays_reward, make_judge, make_reasoning_judge
from cada_trl.judging.judge import Judge, check_reachable
from cada_trl.launching import (
    check_gpus,
    check_launch,
    check_world,
    end_with_launcher,
    is_launched,
    launch,
    quiet_libraries,
    run_rank,
    set_environment,
)
from cada_trl.rollouts.vllm_plugin import prepare_vllm
from cada_trl.stopping import StopSignals
from cada_trl.storage.digest import check_same_inputs, read_config, sealed
from cada_trl.tracking.manifest import build_manifest, earlier_s, exit_state, finished, is_done
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.progress import StepProgress
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.training.guard import Guard
from cada_trl.training.run import Run, Trained

console = Console(stderr=True)


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError, one line; Ctrl-C leaves a run that the same command resumes."""
    overrides, flags = split_flags(argv)
    config = load_config(overrides)
    if config_is_all(config, flags):
        return 0
    if "--dry-run" in flags:
        from cada_trl.jobs.estimate import dry_run_lines

        for line in dry_run_lines(config, overrides):
            print(line, flush=True)
        return 0
    check_world(config)
    path = Path(config.runs_dir) / run_name(config)
    if not is_launched():
        _say(f"run folder: {path}")  # at once: what follows reads for seconds
    if config.hardware.launcher == "accelerate" and not is_launched() and not is_done(path, config, with_files=True):
        check_launch(config)
        check_gpus(config)
        prepare(config)  # once, before the ranks start: they only read it back
        return launch(config, overrides)
    end_with_launcher()
    set_environment(config.hardware.threads)
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # the launch file's, which transformers prefers to bf16=false
    if config.hardware.device == "cuda" and not is_launched():
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        os.environ["CUDA_VISIBLE_DEVICES"] = seen.partition(",")[0]  # Trainer takes all; TRL refuses several
    if config.rollout.backend != "transformers" and not is_done(path, config, with_files=False):
        prepare_vllm(config)
    quiet_libraries()
    train(config)
    if is_launched():
        from cada_trl.training.checkpoints import leave_ranks

        leave_ranks()
    return 0


def train(config: Config) -> Path:
    """Run everything, or only the report where the run is done already; returns the run folder."""
    path = Path(config.runs_dir) / run_name(config)
    if is_done(path, config, with_files=is_main_rank()):
        check_same_files(path, config)
        bf16 = read_config(path)["hardware"]["bf16"]
        how = "" if bf16 == config.hardware.bf16 else f" with bf16={str(bf16).lower()}"
        _say(f"{path} is done already{how}: nothing is trained again (another seed or run_name makes a new run)")
        return _report(path)
    check_launch(config)
    check_gpus(config)
    check_pays_reward(config.judge)
    judge = make_judge(config.judge, Path(config.data_dir))
    if is_main_rank():
        check_reachable(judge)
    data, pack = prepare(config), load_pack(config.hazards)
    with RunFolder(path, is_main_rank()) as folder, StopSignals() as signals:
        run = _start(config, folder, data, pack, judge)
        try:
            _train_and_probe(run, signals)
        except BaseException as error:
            signals.no_more()
            with suppress(UserError):  # on a full disk the first error is the one that says what to do
                _end(run, exit_state(error))
            raise
        signals.no_more()
        _end(run, "done")
        return _report(folder.path) if folder.is_main else folder.path


def _start(config: Config, folder: RunFolder, data: PreparedData, pack: HazardPack, judge: Judge) -> Run:
    from cada_trl.doctor import check_prompt, refuse_failed
    from cada_trl.models.checks import check_tokenizer, template_hash
    from cada_trl.models.load import load_tokenizer
    from cada_trl.models.named import model_fingerprint
    from cada_trl.separability.card import kept_card

    tokenizer = load_tokenizer(config.model)
    graded = config.reward.reasoning == "judged"
    reasoning_judge = make_reasoning_judge(config.judge, pack) if graded else None
    card = kept_card(config, data) if folder.is_main else None
    facts = {
        "judge_id": judge.id,
        "reasoning_judge_id": reasoning_judge.id if reasoning_judge else None,
        "hazards_hash": pack_hash(pack),
        "template_hash": template_hash(tokenizer),
        "initial_model": model_fingerprint(config.model),
        "tokenizer_facts": check_tokenizer(tokenizer, config.model),
        "card": card.summary() if card else None,
    }
    manifest = build_manifest(config, data.manifest, facts | {"earlier_s": earlier_s(folder.path)})
    check_same_inputs(folder.path, manifest)
    refuse_failed(check_prompt(config, tokenizer))
    folder.write_manifest(manifest)  # first: an earlier one records another config.yaml
    folder.write_config(config)
    mirror = Mirror.start(config, folder, _say)
    return Run(config, folder, data, pack, judge, reasoning_judge, tokenizer, mirror, manifest, _say)


def _train_and_probe(run: Run, signals: StopSignals) -> None:
    from cada_trl.models.named import folder_identity
    from cada_trl.training.checkpoints import naming_a_full_disk
    from cada_trl.training.probes import probe_run

    newest = _newest_checkpoint(run)
    first_step = newest[1] if newest else 0
    progress, guard = StepProgress(run.n_steps, first_step), Guard(run, signals)
    trainer = _trainer(run, progress, guard)
    if newest is None or not (run.folder.path / "probes" / "before.jsonl").is_file():
        run.folder.truncate_after(first_step, ("before", "after"))
        guard.probe(0, "before", probe_run(run, trainer, "before", 0))
    run.folder.truncate_after(first_step)
    guard.recall()
    reference = trainer.reference_hash()
    if not guard.must_stop(trainer):
        shown = progress if run.folder.is_main else nullcontext()
        with shown, naming_a_full_disk(run.folder.checkpoints), signals.until_the_next_step():
            trainer.train(resume_from_checkpoint=str(newest[0]) if newest else None)
    if trainer.reference_hash() != reference:
        raise RuntimeError("the frozen reference model changed during training: the KL is not the one reported")
    run.manifest["reference_hash"] = reference
    guard.raise_if_stopped(trainer)
    guard.probe(run.n_steps, "after", probe_run(run, trainer, "after", trainer.state.global_step))
    with naming_a_full_disk(run.folder.final):
        trainer.save_model(str(run.folder.final))
    run.manifest["model"] = folder_identity(run.folder.final) if run.folder.is_main else None


def _newest_checkpoint(run: Run) -> tuple[Path, int] | None:
    from cada_trl.training.checkpoints import check_same_hardware, newest_complete

    newest = newest_complete(run.folder.checkpoints, run.folder.is_main, run.say)
    if newest:
        check_same_hardware(newest[0], run.config.hardware)
        run.say(f"goes on from step {newest[1]}: {newest[0]}")
    return newest


def _trainer(run: Run, progress: StepProgress, guard: Guard) -> Trained:
    from cada_trl.training.checkpoints import join_ranks
    from cada_trl.training.probes import header_of_run, probe_run

    tracking = run.config.tracking

    def record(step: int, metrics: dict[str, float], rows: list[dict[str, Any]]) -> None:
        is_probed = tracking.probe_every_steps and step % tracking.probe_every_steps == 0 and step < run.n_steps
        has_header = tracking.header_every_steps and step % tracking.header_every_steps == 0 and step < run.n_steps
        if has_header and not is_probed:  # a probe logs it, too
            metrics = metrics | header_of_run(run, trainer)
        run.folder.append_train(step, metrics)
        if rows:
            run.folder.write_completions(step, rows)
        run.mirror.log(step, metrics)
        if run.folder.is_main:
            progress.update(step, metrics)
        guard.step(step, metrics, rows)
        if is_probed:
            name = f"step_{step:06d}"
            guard.probe(step, name, probe_run(run, trainer, name, step))
        if guard.must_stop(trainer):
            guard.stops_after(trainer.stop_here(), step)

    join_ranks(run.config.hardware)
    trainer = run.trainer(record)
    return trainer


def _say(text: str) -> None:
    if is_main_rank():
        console.print(text, highlight=False, soft_wrap=True, markup=False)


def _end(run: Run, exit_state: str) -> None:
    try:
        if run.folder.is_main:
            run.folder.write_manifest(sealed(run.folder.path, finished(run.manifest, exit_state)))
    finally:
        run.mirror.finish(exit_state == "done")


def _report(folder: Path) -> Path:
    from cada_trl.report.page import write_report
    from cada_trl.report.run_record import read_run

    page = write_report([read_run(folder)], folder)
    _say(f"model  {folder / 'final'}\nreport {page}")
    return folder


if __name__ == "__main__":
    run_rank(main)
