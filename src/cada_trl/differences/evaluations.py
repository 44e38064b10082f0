"""Two evaluations: configuration, origins, the first response that differs, and the rates in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cada_trl.differences.explanation import Explanation, Section, difference_section, experiment_sentence, shown
from cada_trl.differences.origins import EVALUATION_KEYS, config_differences, manifest_differences, unsure_code
from cada_trl.differences.parting import TextDifference, text_difference
from cada_trl.evals.compare import Comparison, compare
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name
from cada_trl.reporting.evaluation.numbers import difference_cell, share_cell


@dataclass(frozen=True)
class SharedResponses:
    """shared: attempts with the same prompt in both; differ: those whose responses are not the same text."""

    asked: tuple[int, int]
    shared: int
    differ: int
    first: TextDifference | None


def explain_evaluations(a: EvalRecord, b: EvalRecord) -> Explanation:
    """Everything that differs; rates are compared where one judge gave both sides' verdicts."""
    names = (a.name, b.name)
    config = config_differences(a.config, b.config, EVALUATION_KEYS)
    origins = manifest_differences(a.manifest, b.manifest)
    responses = shared_responses(a, b)
    one_judge = a.scores.judge_id == b.scores.judge_id
    compared = compare([a.evaluated], [b.evaluated], a.scores.min_coverage) if one_judge else None
    code = ["Files differed from the commit in at least one: equal commits do not mean equal code."]
    sections = [
        Section("In short", [experiment_sentence(config), _responses_sentence(responses)]),
        difference_section("Configuration", config, names),
        difference_section("Where they come from", origins, names, code if unsure_code(a.manifest, b.manifest) else []),
        _responses_section(responses, names),
        _rates_section(compared, names),
    ]
    twin = {
        "evaluations": [str(one.path) for one in (a, b)],
        "config": [asdict(one) for one in config],
        "origins": [asdict(one) for one in origins],
        "responses": asdict(responses),
        "compared": None if compared is None else compared.to_json(),
    }
    return Explanation(names, sections, twin)


def shared_responses(a: EvalRecord, b: EvalRecord) -> SharedResponses:
    """The attempts with one prompt in both, and the first that was answered otherwise, in the first's order."""
    shared = [one for one in a.attempts if one.key in a.responses and one.key in b.responses]
    pairs = [(one, a.responses[one.key].completion, b.responses[one.key].completion) for one in shared]
    apart = [(one, x, y) for one, x, y in pairs if x != y]
    first = text_difference(apart[0][0].id, apart[0][0].prompt, *apart[0][1:]) if apart else None
    return SharedResponses((len(a.attempts), len(b.attempts)), len(shared), len(apart), first)


def _responses_sentence(found: SharedResponses) -> str:
    if not found.shared:
        return "They asked nothing in common: no attempt has the same prompt in both."
    if not found.differ:
        return f"All {found.shared} responses to the prompts that they share are the same, letter by letter."
    return f"Of {found.shared} responses to the prompts that they share {found.differ} differ."


def _responses_section(found: SharedResponses, names: Sequence[str]) -> Section:
    sentences = [f"Asked: {found.asked[0]} and {found.asked[1]}; with the same prompt: {found.shared}."]
    rows = []
    if found.first:
        one = found.first
        sentences.append(f"The first that differs is of {one.request_id} and parts at character {one.at_char}.")
        rows.append(["text from there", shown(repr(one.a)), shown(repr(one.b))])
    return Section("Responses", sentences, ["", *names], rows)


def _rates_section(compared: Comparison | None, names: Sequence[str]) -> Section:
    if compared is None:
        return Section("Rates", ["Different judges: judge both by one of them to compare rates."])
    rows = [
        [
            f"{benchmark_name(cell.benchmark)}, {attack_name(cell.attack)}: complied",
            *(str(share_cell(value, None)) for value in (cell.complied.before, cell.complied.after)),
            str(difference_cell(cell.complied)),
        ]
        for cell in compared.cells
    ]
    return Section("Rates", ["In pairs, on the prompts that they share."], ["", *names, "Second - first"], rows)
