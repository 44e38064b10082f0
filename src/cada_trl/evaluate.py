"""evaluate: model x benchmark x attack -> responses, verdicts and scores with intervals, in one folder.

    python -m cada_trl.evaluate model=smollm2 suite=quick data_root=<folder>
    python -m cada_trl.evaluate model=runs/<name> benchmarks=advbench,xstest_safe attacks=none,pair judge=strongreject
    ... --dry-run                          (what would be asked, and the folder; every value: --config)

The same command goes on after an interruption; another judge judges the same responses. Top to bottom: plan, check,
attempt, respond, judge, score.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cada_trl.config.loading import config_is_all, split_flags
from cada_trl.console import table_console
from cada_trl.data.own_sets import TWIN_SETS
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.answers import Missing, Outcome, join, judge_by_each, respond
from cada_trl.evaluation.attacks.attacker import Attacker
from cada_trl.evaluation.attacks.pair import PairAttack
from cada_trl.evaluation.folder import RESPONSES, SCORES, EvaluationFolder, folder_name
from cada_trl.evaluation.model import ModelUnderTest
from cada_trl.evaluation.plan import Plan, make_attempts, make_plan, shard_of, take_over
from cada_trl.evaluation.scores import any_rate, score, score_table, withheld_lines
from cada_trl.evaluation.settings import EvaluateConfig, load_evaluate_config
from cada_trl.hazards.pack import load_pack
from cada_trl.judging.endpoint import ChatEndpoint
from cada_trl.judging.from_config import make_judge
from cada_trl.judging.judge import Judge, check_reachable, members_of
from cada_trl.prompting.arms import of_each_hazard, shows_hazard
from cada_trl.report.records import read_record
from cada_trl.storage.digest import MANIFEST, content_hash
from cada_trl.storage.files import place_of

MORE = "for StrongREJECT, XSTest and more: make data DATA_ROOT=<folder>, then data_root=<folder>"


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, one line, also where no rate can be given; what was answered and judged
    until then is kept."""
    words, flags = split_flags(argv)
    config = load_evaluate_config(words)
    if config_is_all(config, flags):
        return 0
    if "--dry-run" not in flags:  # at once: what follows reads for seconds
        asked = f"{', '.join(config.benchmarks)} under {', '.join(config.attacks)}"
        print(f"{config.model.name} is asked: {asked}", flush=True)
    shard = shard_of(config.shard) if config.shard else None
    pack = load_pack(config.hazards)
    of_each_hazard("", config.prompt, pack)  # enough cases of each
    place_of(config.evals_dir)
    with ModelUnderTest(config, pack) as model:
        judge = make_judge(config.judge, config.cache_dir)
        plan = make_plan(config, *_attackers(config, model, judge))
        for line in plan.read_as:
            print(line)
        if config.data_root is None and TWIN_SETS.keys() == set(config.benchmarks):
            print(f"no published set without data_root; {MORE}")
        decides = {**model.decides, "asked": plan.facts()}
        path = Path(config.evals_dir) / folder_name(config.model.name, decides)
        if shard is not None:
            plan, path, decides = shard.of_plan(plan), path / "shards" / shard.name, decides | {"shard": shard.name}
        if "--dry-run" in flags:
            for line in _dry_run_lines(config, plan, judge, path, words):
                print(line)
            return 0
        check_reachable(judge)
        attacks = {attack.name: attack for planned in plan.benchmarks for attack in planned.attacks}
        facts = {
            "model": config.model.name,
            "judge_id": judge.id,
            "attacks": {name: {"kind": attack.kind, "transfer": attack.transfer} for name, attack in attacks.items()},
            "not_run": plan.not_run,
        }
        with EvaluationFolder.opened(path, decides, config, facts) as folder:
            if shard is None and (n_shards := take_over(folder, decides, [one.id for one in members_of(judge)])):
                print(f"with the answers of {n_shards} shards")
            outcomes, missing = ask(config, plan, model, judge, folder)
            if shard is not None:
                print(f"{len(outcomes[judge.id])} answers in {path}; without shard= the same words score all parts")
                return 0
            n_missing = Counter((item.benchmark, item.attack) for item in missing)
            metrics = {planned.spec.name: planned.spec.metric for planned in plan.benchmarks}
            scores = score(outcomes.pop(judge.id), n_missing, metrics, judge.id, config.min_coverage, outcomes)
            folder.write_json(SCORES, scores.to_json())
            if not any_rate(scores):
                raise UserError(
                    f"no rate can be given: {withheld_lines(scores)[0]}; answers and verdicts are kept in {path}; mend "
                    "what is said there, and the same command asks the judge again for what has no verdict"
                )
    console = table_console()
    console.print(score_table(path.name, scores))
    walls = ", ".join(f"{name} {wall_s:.0f} s" for name, wall_s in folder.manifest["pass_wall_s"].items())
    for line in [*withheld_lines(scores), *plan.not_run_lines(), f"wall time: {walls}"]:
        console.print(line, highlight=False, soft_wrap=True)
    from cada_trl.report.page import write_report  # it draws: half a second that nothing before it needs

    print(write_report([read_record(path)], path))
    return 0


def _dry_run_lines(config: EvaluateConfig, plan: Plan, judge: Judge, path: Path, words: list[str]) -> Iterator[str]:
    from cada_trl.jobs.estimate import evaluate_hours  # it reads what doctor reads, which nothing but a dry run asks

    n_answers = sum(len(planned.items) * len(planned.attacks) for planned in plan.benchmarks)
    hours = evaluate_hours(config)
    took = "no evaluation like it was timed" if hours is None else f"{60 * hours:.0f} min, as evaluations like it took"
    yield f"model: {config.model.path}, prompt={config.prompt.arm}"
    for planned in plan.benchmarks:
        names = ", ".join(attack.name for attack in planned.attacks)
        yield f"{planned.spec.name}: {len(planned.items)} items x {names}"
    yield from plan.not_run_lines()
    yield f"answers: {n_answers} of at most {config.generation.max_new_tok} tokens; {took}"
    yield f"judge: {', '.join(dict.fromkeys([judge.id, *(one.id for one in members_of(judge))]))}"
    yield f"folder: {path}"
    yield f"next: {shlex.join(['python', '-m', 'cada_trl.evaluate', *words])}   (every value: --config)"


def ask(
    config: EvaluateConfig, plan: Plan, model: ModelUnderTest, judge: Judge, folder: EvaluationFolder
) -> tuple[dict[str, list[Outcome]], list[Missing]]:
    """The passes, each going on where an earlier call ended: judge id -> every answer with its verdict; what was not
    asked."""
    with folder.timed("attempts"):
        attempts, missing = make_attempts(plan, folder)
    with folder.timed("responses"):
        responses = respond(attempts, folder.log(RESPONSES), model.responses)
    folder.write_json(MANIFEST, folder.manifest)
    model.close()  # a judge that is a model needs the memory
    by_judge = judge_by_each(attempts, responses, judge, config.judge.judge_sees, folder)
    return {name: join(attempts, responses, verdicts) for name, verdicts in by_judge.items()}, missing


def _attackers(
    config: EvaluateConfig, model: ModelUnderTest, judge: Judge
) -> tuple[Attacker, PairAttack] | tuple[None, None]:
    """Who writes the generated attacks, and PAIR by it."""
    asked = config.attacker
    if asked.attacker_llm is None or asked.attacker_base_url is None:
        return None, None
    client = asked.attacker_api_key_env, asked.attacker_timeout_s, asked.attacker_max_retries
    endpoint = ChatEndpoint.from_settings(asked.attacker_base_url, asked.attacker_llm, *client)
    attacker = Attacker(endpoint, config.cache_dir / "attacks.jsonl", asked.attacker_max_calls)
    target, depth = content_hash(model.decides), (asked.n_streams, asked.n_iterations)
    by_hazard = shows_hazard(config.prompt)
    return attacker, PairAttack(attacker, model.answer, target, judge, config.judge.judge_sees, *depth, by_hazard)


if __name__ == "__main__":
    run_verb(main)
