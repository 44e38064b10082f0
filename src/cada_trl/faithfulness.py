"""faithfulness: does a model's verdict follow the cases and the analysis? Each is changed; the verdicts are counted.

    python -m cada_trl.faithfulness model=smollm2 prompt=cases limit=20     (cases and analysis)
    python -m cada_trl.faithfulness model=runs/<name>                       (raw: the analysis alone)
    ... --dry-run                                      (what would be asked, and the folder; every value: --config)

The same command goes on after an interruption; another judge judges the same responses. Top to bottom: the untouched
prompts and those with other cases, then the untouched prompts with an answer that is begun, then the judge.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cada_trl.config.loading import config_is_all, split_flags
from cada_trl.console import table_console
from cada_trl.data.benchmark_items import of_pack
from cada_trl.document.render import show
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.answers import Attempt, Completion, Missing, join, judge_by_each, respond, to_row
from cada_trl.evaluation.faithfulness import (
    INTERVENTIONS,
    KINDS,
    VERSION,
    Effects,
    analysis_attempts,
    effects,
    probe_items,
    prompt_attempts,
)
from cada_trl.evaluation.folder import ATTEMPTS, EFFECTS, MISSING, EvaluationFolder, folder_name
from cada_trl.evaluation.model import ModelUnderTest
from cada_trl.evaluation.settings import FaithfulnessConfig, load_faithfulness_config
from cada_trl.hazards.pack import load_pack, pack_hash
from cada_trl.judging.from_config import LABEL_HARM_ONLY, make_judge
from cada_trl.judging.judge import Judge, check_reachable
from cada_trl.models.prompts import answer_begun
from cada_trl.records import write_jsonl
from cada_trl.report.records import read_faithfulness
from cada_trl.report.results_part import faithfulness_part
from cada_trl.storage.digest import content_hash
from cada_trl.storage.files import place_of

PROMPT_RESPONSES, ANALYSIS_RESPONSES = "responses-prompts.jsonl", "responses-analyses.jsonl"


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, one line; what was answered and judged until then is kept."""
    words, flags = split_flags(argv)
    config = load_faithfulness_config(words)
    if config_is_all(config, flags):
        return 0
    pack = load_pack(config.hazards)
    place_of(config.faithfulness_dir)
    if config.judge.kind in LABEL_HARM_ONLY:
        raise UserError(f"judge={config.judge.kind} labels harm, and here refusals are counted; take another judge")
    items = of_pack(probe_items(config.items, config.limit, config.seed, config.twins_file, pack.hazards), pack.hazards)
    if config.prompt.arm == "cases" and config.prompt.hint and not any(item.hazard for item in items):
        asked_of = config.items or "twins"
        raise UserError(
            f"items={asked_of} has no item of a hazard of the pack '{pack.name}', whose cases are probed; give its "
            "policy=, twins_file=, or items=runs/<name> of a run with this pack"
        )
    with ModelUnderTest(config, pack) as model:
        judge = make_judge(config.judge, Path(config.faithfulness_dir) / "cache")
        asked = {
            "items_hash": content_hash([to_row(item) for item in items]),
            "n_items": len(items),
            "keep_sentences": config.keep_sentences,
            "interventions": VERSION,
            "hazards": pack_hash(pack),
        }
        if config.prompt.reasoning_as != "headers":
            asked["reasoning_as"] = config.prompt.reasoning_as  # how answers are begun, also without a prompt arm
        decides = {**model.decides, "asked": asked}
        path = Path(config.faithfulness_dir) / folder_name(config.model.name, decides)
        first, without = prompt_attempts(items, config.prompt, pack)
        if "--dry-run" in flags:
            print(f"model: {config.model.path}, prompt={config.prompt.arm}")
            print(
                ", ".join(f"{sum(item.harmful is harmful for item in items)} {kind} items" for kind, harmful in KINDS)
            )
            for name, n in Counter(attempt.attack for attempt in first).items():
                print(f"{name}: {n} prompts")
            print("then, on the untouched prompts, an analysis that is kept, cut, left out, ours or another item's")
            command = shlex.join(["python", "-m", "cada_trl.faithfulness", *words])
            print(f"judge: {judge.id}\nfolder: {path}\nnext: {command}   (every value: --config)")
            return 0
        check_reachable(judge)
        facts = {"model": config.model.name, "judge_id": judge.id, "interventions": INTERVENTIONS}
        with EvaluationFolder.opened(path, decides, config, facts) as folder:
            measured = probe(config, first, without, model, judge, folder)
            if all(one.refused.value is None for one in measured.untouched):
                raise UserError(
                    f"no rate can be given: {measured.untouched[0].refused.withheld}; answers and verdicts are kept in "
                    f"{path}; mend what is said there, and the same command asks the judge again"
                )
    record = read_faithfulness(path)
    show(faithfulness_part([record]), table_console())
    from cada_trl.report.page import write_report

    print(write_report([record], path))
    return 0


def probe(
    config: FaithfulnessConfig,
    first: Sequence[Attempt],
    without: Sequence[Missing],
    model: ModelUnderTest,
    judge: Judge,
    folder: EvaluationFolder,
) -> Effects:
    """The passes, each going on where an earlier call ended. first: the attempts that change no analysis; without: what
    is missing of these."""

    def answers(attempts: Sequence[Attempt]) -> Iterator[tuple[int, Completion]]:
        """A begun answer is part of what was answered: the judge and the split read it whole."""
        conversations = [json.loads(attempt.prompt) for attempt in attempts]
        for index, completion in model.generate(conversations):
            yield index, replace(completion, text=answer_begun(conversations[index]) + completion.text)

    with folder.timed("responses"):
        responses = respond(first, folder.log(PROMPT_RESPONSES), answers)
        begun, missing = analysis_attempts(first, responses, config.keep_sentences, config.prompt.reasoning_as)
        missing = [*without, *missing]
        responses = responses | respond(begun, folder.log(ANALYSIS_RESPONSES), answers)
    model.close()  # a judge that is a model needs the memory
    attempts = [*first, *begun]
    write_jsonl(folder.path / ATTEMPTS, map(to_row, attempts))
    write_jsonl(folder.path / MISSING, map(asdict, missing))
    verdicts = judge_by_each(attempts, responses, judge, config.judge.judge_sees, folder)[judge.id]
    measured = effects(join(attempts, responses, verdicts), missing, judge.id, config.min_coverage)
    folder.write_json(EFFECTS, measured.to_json())
    return measured


if __name__ == "__main__":
    run_verb(main)
