"""policy: a safety policy of your own in one file: writes one to fill in, and says what it lacks, leaks or could use.

    python -m cada_trl.policy new mine                             (writes policies/mine/policy.yaml, with an example)
    python -m cada_trl.policy new tenancy                          (copies one that is shipped; or pharmacy)
    python -m cada_trl.policy check mine                           (in seconds, without torch or a model)
    python -m cada_trl.policy check mine benchmarks_dir=<folder>   (and any override of cada_trl.train)
    python -m cada_trl.policy rank mine n_twins=8                  (what each case does to the verdicts of the model;
                                                                    rank builtin: of the built-in pack and twins)

`train policy=mine` takes the file as it is, `evaluate policy=mine` also asks the third of its twins that no training
sees. Exit code 2 where check finds an error.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cada_trl.config import Config, load_config
from cada_trl.config.loading import HELP, nearest
from cada_trl.data.benchmarks import find_overlaps, read_benchmarks
from cada_trl.data.likeness import near_duplicates, normalise
from cada_trl.data.request_set import check_readable
from cada_trl.data.rows import Row
from cada_trl.data.sources import HARMLESS_ONLY, read_twins
from cada_trl.data.split import pair_roles
from cada_trl.errors import HelpAsked, UserError, run_verb
from cada_trl.hazards.pack import TWINS, load_pack
from cada_trl.hazards.policy import (
    NAME,
    POLICY_FILE,
    Policy,
    PolicyFile,
    form_of,
    policy_file,
    policy_folder,
    read_policy,
)
from cada_trl.prompting.arms import of_each_hazard
from cada_trl.separability.probe import BagOfWords
from cada_trl.storage.files import replace
from cada_trl.visible import visible

TEMPLATE = TWINS.with_name(POLICY_FILE)
MIN_PAIRS = 2  # of one, the third that is held out is all
# Ours: the curve of docs/results.md flattens at 600 training pairs, about 55 per hazard, and a third is held out.
GOOD_PAIRS = 80
ONE_SIDED_FRAC, MIN_ROWS = 0.9, 5  # ours
MAX_WORDS = 10


@dataclass(frozen=True)
class Finding:
    """An error keeps the policy from being trained on as it is meant; the others are advice."""

    text: str
    is_error: bool = True


def main(argv: list[str]) -> int:
    """The verb. Returns 2 where check finds an error. Errors: UserError, one line."""
    if HELP.intersection(argv):
        raise HelpAsked("")
    match argv:
        case ["new", name]:
            print(new(name))
            return 0
        case ["check", name, *overrides]:
            print(f"checking {visible(name)}", file=sys.stderr, flush=True)
            findings = check(name, overrides)
        case ["rank", name, *overrides]:
            from cada_trl.evaluation.case_ranking import rank

            return rank(name, overrides)
        case _:
            raise UserError(
                f"got {' '.join(argv) or 'nothing'}; expected new NAME, check NAME or rank NAME, as in policy new mine"
            )
    for finding in findings:
        print(visible(f"{'error' if finding.is_error else 'advice'}: {finding.text}"))
    n_errors = sum(finding.is_error for finding in findings)
    words = shlex.join([f"policy={name}", *overrides])
    done = f"no error; how separable it is: python -m cada_trl.card {words}; next: python -m cada_trl.train {words}"
    print(f"errors: {n_errors}" if n_errors else done)
    return 2 if n_errors else 0


def new(name: str) -> str:
    """Writes the example, or the shipped policy of that name. Errors: UserError for what is there, and for no name."""
    file = policy_folder(name) / POLICY_FILE
    if not name.strip() or not NAME.fullmatch(file.parent.name):
        raise UserError(f"policy new {name}: expected small letters, digits, _ or -, a letter first; not builtin")
    if file.exists():
        raise UserError(f"{file} is there already; edit it, or choose another name")
    shipped = policy_file(name)
    replace(file, (shipped if shipped.is_file() else TEMPLATE).read_text(encoding="utf-8"))
    return f"{file}: put your own in the example's place, then python -m cada_trl.policy check {name}"


def check(name: str, overrides: list[str]) -> list[Finding]:
    """Everything that can be said of the file, errors first. Errors: UserError for no file and for a wrong override."""
    read = read_policy(name)
    if read.policy is None:
        return [Finding(line) for line in read.wrong]
    if others := [word for word in overrides if word.startswith("policy=")]:
        raise UserError(f"{others[0]}: {name} is checked; give one policy, as in policy check {name}")
    config = load_config([f"policy={name}", *overrides])
    rows = _rows(read, read.policy)
    found = [*_wrong(read, read.policy), *_leaks(rows, config, read.policy), *_advice(read, read.policy, rows)]
    findings = [Finding(f"{read.file}, {one.text}", one.is_error) for one in found]
    if not any(one.is_error for one in findings):
        try:  # what the loaders of a training would say
            pack = load_pack(config.hazards)
            check_readable(config, pack)
            of_each_hazard("", config.prompt, pack)  # enough cases of each
        except UserError as error:
            findings.append(Finding(str(error)))
    if config.data.benchmarks_dir is None:
        text = "not compared with the public evaluation sets; benchmarks_dir=<folder> does it"
        findings.append(Finding(text, is_error=False))
    return sorted(findings, key=lambda one: not one.is_error)


def _rows(read: PolicyFile, policy: Policy) -> list[Row]:
    """The texts with their places: the cases, then the twins."""
    cases = [
        Row(case.request, read.at("hazards", i, "cases", j, "request"), "case", hazard=hazard.id)
        for i, hazard in enumerate(policy.hazards)
        for j, case in enumerate(hazard.cases)
    ]
    twins = [
        Row(text, read.at("twins", i, side), "twin", side == "harmful", pair.hazard, pair=pair.id)
        for i, pair in enumerate(policy.twins)
        for side, text in (("harmful", pair.harmful), ("harmless", pair.harmless))
    ]
    return [*cases, *twins]


def _wrong(read: PolicyFile, policy: Policy) -> Iterator[Finding]:
    ids, n_pairs = [hazard.id for hazard in policy.hazards], Counter(pair.hazard for pair in policy.twins)
    for i, hazard in enumerate(policy.hazards):
        if hazard.id in ids[:i]:
            yield Finding(f"{read.at('hazards', i, 'id')}: {hazard.id} is taken above; give it another id")
        if (n := n_pairs[hazard.id]) < MIN_PAIRS:
            text = f"{n} pairs in twins, of which a third, rounded up, is held out; expected at least {MIN_PAIRS}"
            yield Finding(f"{read.at('hazards', i, 'id')}: {hazard.id} has {text}, better {GOOD_PAIRS}")
    first_of: dict[str, int] = {}
    for i, pair in enumerate(policy.twins):
        if (first := first_of.setdefault(pair.id, i)) != i:
            yield Finding(f"{read.at('twins', i)}: the same pair as {read.at('twins', first)}; take one of them out")
        if pair.hazard not in ids:
            yield Finding(f"{read.at('twins', i, 'hazard')}: no hazard '{pair.hazard}'; {nearest(pair.hazard, ids)}")
        if pair.hazard == HARMLESS_ONLY:
            text = f"{HARMLESS_ONLY} takes no harmful text; give the hazard another id, or the pair another hazard"
            yield Finding(f"{read.at('twins', i, 'hazard')}: {text}")
        if normalise(pair.harmful) == normalise(pair.harmless):
            text = "the same text as the harmful one (case, punctuation and spaces aside); write one of them anew"
            yield Finding(f"{read.at('twins', i, 'harmless')}: {text}")
        elif form_of(pair.harmful) != form_of(pair.harmless):
            text = f"{form_of(pair.harmless)}, its partner {form_of(pair.harmful)}; make both end in ?, or neither"
            yield Finding(f"{read.at('twins', i, 'harmless')}: {text}")


def _leaks(rows: list[Row], config: Config, policy: Policy) -> Iterator[Finding]:
    data, keys = config.data, [row.key for row in rows]
    held_out = pair_roles(rows, data.held_out_hazards).probe
    beside = read_twins().rows if policy.beside else []
    first, pairs = len(beside), [*(None for _ in beside), *(row.pair for row in rows)]
    alike = near_duplicates([row.key for row in beside] + keys, data.near_duplicate_jaccard, first, pairs)
    for i, j in alike.items():
        row = rows[i - first]
        if j < first:
            text = f"the text, or nearly, of the built-in pair {beside[j].pair}, which stands beside; write it anew"
            yield Finding(f"{row.where}: {text}")
            continue
        other = rows[j - first]
        likeness = "the same text" if row.key == other.key else "nearly the same text"
        why = "; one of them is held out" if (row.pair in held_out) != (other.pair in held_out) else ""
        yield Finding(f"{row.where}: {likeness} as {other.where}{why}; write one of them anew")
    if data.benchmarks_dir:
        sets = read_benchmarks(Path(data.benchmarks_dir))
        overlaps = find_overlaps(keys, sets, data.decontaminate_n_gram, data.near_duplicate_jaccard)
        for row in rows:
            if overlap := overlaps.get(row.key):
                text = f"in the benchmark {overlap.benchmark} ({overlap.kind}); write it anew"
                yield Finding(f"{row.where}: {text}, so that no evaluation is trained on")


def _advice(read: PolicyFile, policy: Policy, rows: list[Row]) -> Iterator[Finding]:
    n_pairs = Counter(pair.hazard for pair in policy.twins)
    for i, hazard in enumerate(policy.hazards):
        if MIN_PAIRS <= (n := n_pairs[hazard.id]) < GOOD_PAIRS:
            text = f"{hazard.id} has {n} pairs; add {GOOD_PAIRS - n} for the {GOOD_PAIRS} that are recommended"
            yield Finding(f"{read.at('hazards', i, 'id')}: {text}", is_error=False)
    if words := _one_sided([row for row in rows if row.pair]):
        text = f"words that give the answer away: {', '.join(words)}; use them on the other side of some pairs too"
        yield Finding(f"{read.at('twins')}: {text}", is_error=False)


def _one_sided(twins: list[Row]) -> list[str]:
    """Words that nearly always stand on one side, the commonest first. A fitted bag of words is the card's: it needs
    torch."""
    bag = BagOfWords([row.text for row in twins])
    holds_nf = bag.features([row.text for row in twins])
    harmful_n = np.array([row.harmful for row in twins])
    n_f, n_harmful_f = holds_nf.sum(0), holds_nf[harmful_n].sum(0)
    found = []
    for word, column in bag.column.items():
        n, n_harmful = int(n_f[column]), int(n_harmful_f[column])
        side, n_side = ("harmful", n_harmful) if 2 * n_harmful >= n else ("harmless", n - n_harmful)
        if n >= MIN_ROWS and n_side >= ONE_SIDED_FRAC * n:
            found.append((n, f"'{word}' ({n_side} of its {n} rows {side})"))
    return [text for _, text in sorted(found, key=lambda one: -one[0])[:MAX_WORDS]]


if __name__ == "__main__":
    run_verb(main)
