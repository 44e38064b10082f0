"""evaluate: model x benchmark x attack -> responses, verdicts and scores with intervals, in one folder.

    python -m cada_trl.evaluate model=smollm2 suite=quick data_root=<folder>
    python -m cada_trl.evaluate model=runs/<name> benchmarks=advbench,xstest_safe attacks=none,pair judge=strongreject
    ... --dry-run                                               (what would be asked, and the folder)

The same command goes on after an interruption; another judge judges the same responses. Top to bottom: plan, check,
attempt, respond, judge, score.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.console import table_console
from cada_trl.errors import run_verb
from cada_trl.evals.attacks.registry import AttackContext
from cada_trl.evals.benchmarks import BenchmarkSpec
from cada_trl.evals.eval_folder import EvalFolder, folder_name
from cada_trl.evals.outcomes import join
from cada_trl.evals.plan import Plan, make_plan
from cada_trl.evals.responses import RESPONSES, make_attempts, respond
from cada_trl.evals.score_table import not_run_lines, score_table, withheld_lines
from cada_trl.evals.scores import Scores, score
from cada_trl.evals.settings import EvaluateConfig, load_evaluate_config
from cada_trl.evals.tested_model import ModelUnderTest
from cada_trl.evals.verdicts import judge_responses, verdict_file
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.from_config import make_judge
from cada_trl.judging.judge import Judge, check_reachable
from cada_trl.storage.digest import content_hash
from cada_trl.tracking.manifest import exit_state, finished, now_utc, provenance
from cada_trl.tracking.scrub import scrub

if TYPE_CHECKING:
    from cada_trl.evals.attacks.attacker import Attacker

SCORES = "scores.json"


@dataclass
class Evaluation:
    """What the passes of one evaluation share."""

    config: EvaluateConfig
    plan: Plan
    model: ModelUnderTest
    judge: Judge
    decides: Mapping[str, Any]

    @property
    def path(self) -> Path:
        return Path(self.config.evals_dir) / folder_name(self.config.model.name, self.decides)


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, one line; what was answered and judged until then is kept."""
    config = load_evaluate_config([word for word in argv if word != "--dry-run"])
    with ModelUnderTest(config, load_pack(config.hazards)) as model:
        judge = make_judge(config.judge, _cache_dir(config))
        plan = make_plan(config, _attack_context(config, model, judge))
        evaluation = Evaluation(config, plan, model, judge, {**model.decides, "asked": plan.facts()})
        if "--dry-run" in argv:
            _show_plan(evaluation)
            return 0
        check_reachable(judge)
        with EvalFolder.opened(evaluation.path, evaluation.decides) as folder:
            scores = evaluate(evaluation, folder)
    _show_scores(evaluation, scores, folder)
    from cada_trl.report.page import write_report
    from cada_trl.report.records import read_record

    print(write_report([read_record(folder.path)], folder.path))
    return 0


def evaluate(evaluation: Evaluation, folder: EvalFolder) -> Scores:
    """The passes, each going on where an earlier call ended; the manifest says how this one ended."""
    folder.write_config(evaluation.config)
    manifest = _manifest(evaluation, folder)
    folder.write_manifest(manifest, evaluation.decides)
    try:
        scores = _passes(evaluation, folder, manifest)
    except BaseException as error:
        folder.write_manifest(finished(manifest, exit_state(error)), evaluation.decides)
        raise
    folder.write_manifest(finished(manifest, "done"), evaluation.decides)
    return scores


def _passes(evaluation: Evaluation, folder: EvalFolder, manifest: dict[str, Any]) -> Scores:
    config, judge, plan = evaluation.config, evaluation.judge, evaluation.plan
    with _timed(manifest, "attempts"):
        attempts, missing = make_attempts(plan, folder)
    with _timed(manifest, "responses"):
        responses = respond(attempts, folder.log(RESPONSES), evaluation.model.responses)
    folder.write_manifest(manifest, evaluation.decides)
    evaluation.model.close()  # a judge that is a model needs the memory
    with _timed(manifest, judge.id):
        log = folder.log(verdict_file(judge.id))
        verdicts = judge_responses(attempts, responses, judge, config.judge.judge_sees, log)
    scores = score(
        join(attempts, responses.values(), verdicts),
        Counter((one.benchmark, one.attack) for one in missing),
        {one.spec.name: one.spec.metric for one in plan.benchmarks},
        judge.id,
        config.min_coverage,
    )
    folder.write_json(SCORES, scores.to_json())
    return scores


@contextmanager
def _timed(manifest: dict[str, Any], name: str) -> Iterator[None]:
    """Add this pass's wall time (s) to what earlier calls spent on it; a killed call's time is not known."""
    started = time.monotonic()
    try:
        yield
    finally:
        spent = manifest["pass_wall_s"].get(name, 0.0)
        manifest["pass_wall_s"][name] = round(spent + time.monotonic() - started, 1)


def _manifest(evaluation: Evaluation, folder: EvalFolder) -> dict[str, Any]:
    attacks = {attack.name: attack for one in evaluation.plan.benchmarks for attack in one.attacks}
    manifest: dict[str, Any] = scrub(
        {
            "name": folder.path.name,
            "model": evaluation.config.model.name,
            "exit_state": "running",
            "started_utc": now_utc(),
            "ended_utc": None,
            "wall_s": None,
            "pass_wall_s": folder.read_json("manifest.json").get("pass_wall_s", {}),
            "judge_id": evaluation.judge.id,
            "attacks": {name: {"kind": one.kind, "transfer": one.transfer} for name, one in attacks.items()},
            "not_run": evaluation.plan.not_run,
            **provenance(),
        }
    )
    return manifest


def _attack_context(
    config: EvaluateConfig, model: ModelUnderTest, judge: Judge
) -> Callable[[BenchmarkSpec], AttackContext]:
    attacker, data_root = _attacker(config), Path(config.data_root).expanduser() if config.data_root else None
    depth = config.attacker.n_streams, config.attacker.n_iterations

    def context(spec: BenchmarkSpec) -> AttackContext:
        target_id = content_hash(model.decides)
        return AttackContext(spec, data_root, attacker, model.answer, target_id, judge, *depth)

    return context


def _attacker(config: EvaluateConfig) -> Attacker | None:
    own = config.attacker
    if own.attacker_llm is None or own.attacker_base_url is None:
        return None
    from cada_trl.evals.attacks.attacker import Attacker
    from cada_trl.evals.attacks.attacker_cache import AttackerCache
    from cada_trl.judging.endpoint import ChatEndpoint

    asked = own.attacker_api_key_env, own.attacker_timeout_s, own.attacker_max_retries
    endpoint = ChatEndpoint.from_settings(own.attacker_base_url, own.attacker_llm, *asked)
    cache = AttackerCache(_cache_dir(config) / "attacks.jsonl")
    return Attacker(endpoint, own.attacker_llm, cache, own.attacker_max_calls)


def _cache_dir(config: EvaluateConfig) -> Path:
    """What judge and attacker models said, for every evaluation below evals_dir."""
    return Path(config.evals_dir) / "cache"


def _show_plan(evaluation: Evaluation) -> None:
    for one in evaluation.plan.benchmarks:
        print(f"{one.spec.name}: {len(one.items)} items x {', '.join(attack.name for attack in one.attacks)}")
    for line in not_run_lines(evaluation.plan.not_run):
        print(line)
    print(f"judge: {evaluation.judge.id}\nfolder: {evaluation.path}")


def _show_scores(evaluation: Evaluation, scores: Scores, folder: EvalFolder) -> None:
    console = table_console()
    console.print(score_table(folder.path.name, scores))
    for line in [*withheld_lines(scores), *not_run_lines(evaluation.plan.not_run)]:
        console.print(line, highlight=False, soft_wrap=True)
    walls = folder.read_json("manifest.json")["pass_wall_s"]
    console.print(
        "wall time: " + ", ".join(f"{name} {wall_s:.0f} s" for name, wall_s in walls.items()), highlight=False
    )


if __name__ == "__main__":
    run_verb(main)
