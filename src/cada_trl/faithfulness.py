"""faithfulness: does a model's verdict follow the cases and the analysis? Each is changed; the verdicts are counted.

    python -m cada_trl.faithfulness model=smollm2 prompt=cases limit=20     (cases and analysis)
    python -m cada_trl.faithfulness model=runs/<name>                       (raw: the analysis alone)
    ... --dry-run                                                           (what would be asked, and the folder)

The same command goes on after an interruption; another judge judges the same responses. Top to bottom: the untouched
prompts and those with other cases, then the untouched prompts with an answer that is begun, then the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cada_trl.console import table_console
from cada_trl.errors import run_verb
from cada_trl.evals.eval_folder import EvalFolder, folder_name
from cada_trl.evals.faithfulness.effect_table import effect_table
from cada_trl.evals.faithfulness.effects import EFFECTS, Effects, effects
from cada_trl.evals.faithfulness.interventions import INTERVENTIONS, VERSION, analysis_attempts, prompt_attempts
from cada_trl.evals.faithfulness.probe_items import probe_items
from cada_trl.evals.faithfulness.settings import FaithfulnessConfig, load_faithfulness_config
from cada_trl.evals.generation.generator import Completion
from cada_trl.evals.generation.prompts import answer_begun
from cada_trl.evals.items import Attempt, Item, to_row
from cada_trl.evals.outcomes import join
from cada_trl.evals.responses import ATTEMPTS, MISSING, respond
from cada_trl.evals.tested_model import ModelUnderTest
from cada_trl.evals.verdicts import judge_responses, verdict_file
from cada_trl.hazards.pack import HazardPack, load_pack, pack_hash
from cada_trl.judging.from_config import make_judge
from cada_trl.judging.judge import Judge, check_reachable
from cada_trl.records import write_jsonl
from cada_trl.storage.digest import content_hash
from cada_trl.tracking.manifest import exit_state, finished, now_utc, provenance
from cada_trl.tracking.scrub import scrub

PROMPT_RESPONSES, ANALYSIS_RESPONSES = "responses-prompts.jsonl", "responses-analyses.jsonl"


@dataclass
class Probing:
    """What the passes share."""

    config: FaithfulnessConfig
    items: list[Item]
    pack: HazardPack
    model: ModelUnderTest
    judge: Judge

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the responses."""
        asked = {
            "items_hash": content_hash([to_row(item) for item in self.items]),
            "n_items": len(self.items),
            "keep_sentences": self.config.keep_sentences,
            "interventions": VERSION,
            "hazards": pack_hash(self.pack),
        }
        return {**self.model.decides, "asked": asked}

    @property
    def path(self) -> Path:
        return Path(self.config.faithfulness_dir) / folder_name(self.config.model.name, self.decides)


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, one line; what was answered and judged until then is kept."""
    config = load_faithfulness_config([word for word in argv if word != "--dry-run"])
    pack = load_pack(config.hazards)
    items = probe_items(config.items, config.limit, config.seed)
    with ModelUnderTest(config, pack) as model:
        judge = make_judge(config.judge, Path(config.faithfulness_dir) / "cache")
        probing = Probing(config, items, pack, model, judge)
        if "--dry-run" in argv:
            _show_plan(probing)
            return 0
        check_reachable(judge)
        with EvalFolder.opened(probing.path, probing.decides) as folder:
            found = probe(probing, folder)
    table_console().print(effect_table(folder.path.name, found))
    from cada_trl.report.page import write_report
    from cada_trl.report.records import read_record

    print(write_report([read_record(folder.path)], folder.path))
    return 0


def probe(probing: Probing, folder: EvalFolder) -> Effects:
    """The passes, each going on where an earlier call ended; the manifest says how this one ended."""
    folder.write_config(probing.config)
    manifest = _manifest(probing, folder)
    folder.write_manifest(manifest, probing.decides)
    try:
        found = _passes(probing, folder)
    except BaseException as error:
        folder.write_manifest(finished(manifest, exit_state(error)), probing.decides)
        raise
    folder.write_manifest(finished(manifest, "done"), probing.decides)
    return found


def _passes(probing: Probing, folder: EvalFolder) -> Effects:
    config, judge = probing.config, probing.judge

    def answers(attempts: Sequence[Attempt]) -> Iterator[tuple[int, Completion]]:
        """A begun answer is part of what was answered: the judge and the split read it whole."""
        conversations = [json.loads(one.prompt) for one in attempts]
        for index, completion in probing.model.generate(conversations):
            yield index, replace(completion, text=answer_begun(conversations[index]) + completion.text)

    first = prompt_attempts(probing.items, config.prompt, probing.pack)
    responses = respond(first, folder.log(PROMPT_RESPONSES), answers)
    begun, missing = analysis_attempts(first, responses, config.keep_sentences)
    responses = responses | respond(begun, folder.log(ANALYSIS_RESPONSES), answers)
    probing.model.close()  # a judge that is a model needs the memory
    attempts = [*first, *begun]
    write_jsonl(folder.path / ATTEMPTS, map(to_row, attempts))
    write_jsonl(folder.path / MISSING, map(asdict, missing))
    verdicts = judge_responses(attempts, responses, judge, config.judge.judge_sees, folder.log(verdict_file(judge.id)))
    found = effects(join(attempts, responses.values(), verdicts), missing, judge.id, config.min_coverage)
    folder.write_json(EFFECTS, found.to_json())
    return found


def _manifest(probing: Probing, folder: EvalFolder) -> dict[str, Any]:
    manifest: dict[str, Any] = scrub(
        {
            "name": folder.path.name,
            "model": probing.config.model.name,
            "exit_state": "running",
            "started_utc": now_utc(),
            "ended_utc": None,
            "wall_s": None,
            "judge_id": probing.judge.id,
            "interventions": INTERVENTIONS,
            **provenance(),
        }
    )
    return manifest


def _show_plan(probing: Probing) -> None:
    first = prompt_attempts(probing.items, probing.config.prompt, probing.pack)
    counts = {kind: sum(item.harmful is harmful for item in probing.items) for kind, harmful in _KINDS}
    print(", ".join(f"{n} {kind} items" for kind, n in counts.items()))
    for name in dict.fromkeys(one.attack for one in first):
        print(f"{name}: {sum(one.attack == name for one in first)} prompts")
    print("then, on the untouched prompts, an analysis that is kept, cut, left out, ours or another item's")
    print(f"judge: {probing.judge.id}\nfolder: {probing.path}")


_KINDS = (("harmful", True), ("harmless", False))


if __name__ == "__main__":
    run_verb(main)
