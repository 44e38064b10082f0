"""Which samples become targets, and why the others do not: every count goes to the manifest and the page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cada_trl.methods.run import Run
from cada_trl.records import Request, Verdict, write_jsonl
from cada_trl.reward import ScoredCompletion
from cada_trl.targets.counts import check_kept, counts, in_words


@dataclass(frozen=True)
class Target:
    """What is to be said to a raw request."""

    request_id: str
    request: str
    harmful: bool
    text: str


def make_targets(run: Run, unequal_to: str | None = None) -> list[Target]:
    """The targets of a run, harmful ones first; samples and reasons are in the run folder's targets.jsonl.

    unequal_to: DPO's rejected answer; a target equal to it is dropped. Errors: UserError with the reasons when no
    harmful target is kept, or none of the harmless ones that the batch holds.
    """
    from cada_trl.targets.sampling import sampled

    algo = run.config.algo
    own = algo.targets == "own"
    folder, rows = sampled(run, with_harmful=own) if own or run.config.algo.benign_per_step else (None, [])
    rejects = algo.keep == "reasoned_refusal"
    texts, cut = [row["completion"] for row in rows], [row["truncated"] for row in rows]
    scored = run.score(rows, texts, cut) if rejects and rows else [None] * len(rows)
    reasons = [
        reason_to_drop(row["completion"], row["truncated"], row["harmful"], one, unequal_to)
        for row, one in zip(rows, scored, strict=True)
    ]
    fixed = [] if own else fixed_refusals(run.data.train, str(algo.refusal_text))
    targets = fixed + [
        Target(row["request_id"], row["request"], row["harmful"], row["completion"].strip())
        for row, reason in zip(rows, reasons, strict=True)
        if reason is None
    ]
    report = counts(len(fixed), rows, reasons) | {"samples": str(folder) if folder else None}
    if run.folder.is_main:
        noted = [{**row, "dropped": reason} for row, reason in zip(rows, reasons, strict=True)]
        write_jsonl(run.folder.path / "targets.jsonl", noted)
    run.note("targets", report)
    check_kept(report, with_harmless=run.config.algo.benign_per_step > 0)
    run.say(f"targets: {in_words(report)}")
    return sorted(targets, key=lambda target: not target.harmful)


def fixed_refusals(requests: Iterable[Request], text: str) -> list[Target]:
    """The same refusal for every request (paper: SFT w DR)."""
    return [Target(request.id, request.text, True, text) for request in requests]


def reason_to_drop(
    completion: str,
    truncated: bool,
    harmful: bool,
    scored: ScoredCompletion | None = None,
    unequal_to: str | None = None,
) -> str | None:
    """Why a sample is no target; None keeps it. scored: reject what the reward does not pay in full as well."""
    text = completion.strip()
    reasons = {
        "truncated": truncated,
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
