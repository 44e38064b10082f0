"""train: requests + model -> a run folder with the trained model, its curves and its report.

    python -m cada_trl.train model=smollm2 data=starter            (overrides: any key of hydra_conf/, by its bare name)
    python -m cada_trl.train model=deepthought hardware=a100x4 --dry-run

The same command goes on after an interruption. What happens, top to bottom: prepare, load, probe, train, probe, report.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from cada_trl.config import Config, load_config, run_name
from cada_trl.errors import run_verb
from cada_trl.hazards.pack import HazardPack, load_pack, pack_hash
from cada_trl.judging.judge import Judge, make_judge
from cada_trl.launching import dry_run, is_launched, launch, set_environment
from cada_trl.prepare import PreparedData, prepare
from cada_trl.tracking.manifest import build_manifest, finished
from cada_trl.tracking.progress import StepProgress
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.wandb_mirror import WandbMirror

if TYPE_CHECKING:
    from cada_trl.trainers.cada import CADATrainer

console = Console(stderr=True)


@dataclass
class Run:
    """What the stages of one run share."""

    config: Config
    folder: RunFolder
    data: PreparedData
    pack: HazardPack
    judge: Judge
    tokenizer: Any
    mirror: WandbMirror
    manifest: dict[str, Any]

    @property
    def n_steps(self) -> int:
        from cada_trl.trainers.arguments import n_steps

        return n_steps(self.config, len(self.data.train))


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError, one line; Ctrl-C leaves a run that the same command resumes."""
    overrides = [word for word in argv if word != "--dry-run"]
    config = load_config(overrides)
    if "--dry-run" in argv:
        return dry_run(config, overrides)
    if config.hardware.launcher == "accelerate" and not is_launched():
        return launch(config, overrides)
    set_environment(config)
    train(config)
    return 0


def train(config: Config) -> Path:
    """Run everything; returns the run folder."""
    judge = make_judge(config.judge, Path(config.data_dir))
    data, pack = prepare(config), load_pack(config.hazards)
    with RunFolder(Path(config.runs_dir) / run_name(config)) as folder:
        run = _start(config, folder, data, pack, judge)
        try:
            _train_and_probe(run)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            _end(run, "interrupted" if interrupted else f"failed: {str(error).splitlines()[0] if str(error) else error!r}")
            raise
        _end(run, "done")
        return _report(folder.path)


def _start(config: Config, folder: RunFolder, data: PreparedData, pack: HazardPack, judge: Judge) -> Run:
    from cada_trl.models.checks import check_tokenizer, template_hash
    from cada_trl.models.load import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    facts = {
        "judge_id": judge.id,
        "hazards_hash": pack_hash(pack),
        "template_hash": template_hash(tokenizer),
        "tokenizer_facts": check_tokenizer(tokenizer, config.model),
    }
    manifest = build_manifest(config, data.manifest, facts)
    folder.write_config(config)
    folder.write_manifest(manifest)
    return Run(config, folder, data, pack, judge, tokenizer, WandbMirror(config, folder, "train"), manifest)


def _train_and_probe(run: Run) -> None:
    from cada_trl.trainers.resume import newest_complete

    newest = newest_complete(run.folder.checkpoints)
    first_step = newest[1] if newest else 0
    with StepProgress(run.n_steps, first_step) as progress:
        trainer = _trainer(run, progress)
        if newest is None or not (run.folder.path / "probes" / "before.jsonl").is_file():
            run.folder.truncate_after(-1)
            _probe(run, trainer, "before", 0)
        run.folder.truncate_after(first_step)
        reference = trainer.reference_hash()
        trainer.train(resume_from_checkpoint=str(newest[0]) if newest else None)
    if trainer.reference_hash() != reference:
        raise RuntimeError("the frozen reference model changed during training: the KL is not the one reported")
    run.manifest["reference_hash"] = reference
    _probe(run, trainer, "after", trainer.state.global_step)
    trainer.save_model(str(run.folder.final))


def _trainer(run: Run, progress: StepProgress) -> CADATrainer:
    from cada_trl.models.load import load_policy
    from cada_trl.reward import ScoredCompletion, score_completions
    from cada_trl.trainers.arguments import cada_arguments, lora_config, rollout_dataset
    from cada_trl.trainers.cada import CADATrainer

    config, tracking = run.config, run.config.tracking

    def score(rows: list[dict[str, Any]], texts: list[str], truncated: list[bool]) -> list[ScoredCompletion]:
        requests, harmful = [row["request"] for row in rows], [row["harmful"] for row in rows]
        return score_completions(requests, texts, truncated, harmful, run.judge, config.reward)

    def record(step: int, metrics: dict[str, float], rows: list[dict[str, Any]]) -> None:
        run.folder.append_train(step, metrics)
        run.folder.write_completions(step, rows)
        run.mirror.log(step, metrics)
        progress.update(step, metrics)
        if tracking.probe_every_steps and step % tracking.probe_every_steps == 0 and step < run.n_steps:
            _probe(run, trainer, f"step_{step:06d}", step)

    trainer = CADATrainer(
        model=load_policy(config.model, run.tokenizer),
        args=cada_arguments(config, run.folder.checkpoints, len(run.data.train)),
        train_dataset=rollout_dataset(config, run.data.train, run.data.benign_train, run.pack),
        processing_class=run.tokenizer,
        score=score,
        record=record,
        peft_config=lora_config(config),
    )
    return trainer


def _probe(run: Run, trainer: CADATrainer, name: str, step: int) -> None:
    from cada_trl.evals.probes import mean_nll_nats, probe, summary
    from cada_trl.records import read_jsonl

    tracking, data = run.config.tracking, run.data
    sets = {
        "harmful": data.probe[: tracking.n_probe_harmful],
        "held_out": data.held_out[: tracking.n_probe_harmful],
        "harmless": data.harmless_probe[: tracking.n_probe_harmless],
        "xstest_safe": data.xstest_safe_probe[: tracking.n_probe_harmless],
    }
    sets = {key: requests for key, requests in sets.items() if requests}
    n_requests = sum(map(len, sets.values()))
    console.print(f"probe {name}: {n_requests} held-out requests, given raw ({', '.join(sets)})")
    with trainer.sampling_model() as model:
        rows = probe(model, run.tokenizer, sets, run.config, run.judge)
    before = rows if name == "before" else [row for _, row in read_jsonl(run.folder.path / "probes" / "before.jsonl")]
    values = summary(rows)
    harmless = [row for row in before if row["set"] == "harmless"]
    if harmless:
        values["probe/harmless/nll_nats"] = mean_nll_nats(trainer.policy, run.tokenizer, harmless)
    run.folder.write_probe(name, step, rows, values)
    run.mirror.log(step, values)


def _end(run: Run, exit_state: str) -> None:
    run.folder.write_manifest(finished(run.manifest, exit_state))
    run.mirror.finish(exit_state == "done")


def _report(folder: Path) -> Path:
    from cada_trl.reporting.page import write_report
    from cada_trl.reporting.run_record import read_run

    page = write_report([read_run(folder)], folder)
    console.print(f"model  {folder / 'final'}\nreport {page}")
    return folder


if __name__ == "__main__":
    run_verb(main)
