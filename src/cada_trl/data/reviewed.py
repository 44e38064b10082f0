"""BeaverTails prompts that were read and labelled twice: where both labels are the same, it is the row's hazard.

Only hashes of the prompts and their labels are shipped; the prompts are in the user's own copy. A label is a hazard's
id, "safe" (an honest reader sees no harm) or "unclear" (none of the hazards, or too little said to tell).
"""

from __future__ import annotations

import csv
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cada_trl.data.lexical import Classification, Lexicon, classify
from cada_trl.data.normalise import text_hash
from cada_trl.data.rows import Row
from cada_trl.errors import UserError
from cada_trl.statistics import agreement

REVIEWED = Path(__file__).parent / "assets" / "beavertails_reviewed.tsv"
COLUMNS = ["sha256", "first", "second"]
HASH_DIGITS = 16
UNCLEAR = "unclear"
REVIEWED_SAFE, REVIEWED_UNCLEAR = "reviewed_safe", "reviewed_unclear"  # dropped, and counted under these names
_DROPPED = {"safe": REVIEWED_SAFE, UNCLEAR: REVIEWED_UNCLEAR}


@dataclass(frozen=True)
class Review:
    """First 16 hex digits of a prompt's text_hash -> its two labels."""

    labels: dict[str, tuple[str, str]]

    def label(self, text: str) -> str | None:
        """The label that both gave, "unclear" where they differ, None for a text that was not reviewed."""
        both = self.labels.get(text_hash(text)[:HASH_DIGITS])
        if both is None:
            return None
        return both[0] if both[0] == both[1] else UNCLEAR

    @cached_property
    def agreement(self) -> dict[str, Any]:
        """n, agreed and Cohen's kappa over all labels."""
        return agreement([first for first, _ in self.labels.values()], [second for _, second in self.labels.values()])


def read_review(path: Path = REVIEWED) -> Review:
    """Errors: UserError for a file that is not such a table, with the row."""
    labels: dict[str, tuple[str, str]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file, delimiter="\t")
            if table.fieldnames != COLUMNS:
                raise UserError(f"{path}: columns {table.fieldnames}; expected {', '.join(COLUMNS)}, parted by tabs")
            for number, row in enumerate(table, start=2):
                digest = row["sha256"] or ""
                if len(digest) != HASH_DIGITS or not row["first"] or not row["second"]:
                    raise UserError(
                        f"{path}, row {number}: expected {HASH_DIGITS} hex digits and two labels; saw {row}"
                    )
                if digest in labels:
                    raise UserError(f"{path}, row {number}: {digest} stands twice; keep one of them")
                labels[digest] = (row["first"], row["second"])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; install the package anew") from error
    return Review(labels)


def classify_reviewed(text: str, labels: Collection[str], review: Review, lexicon: Lexicon) -> Classification:
    """The reviewed label of a row that has one, the lexicon's answer for any other."""
    label = review.label(text)
    if label is None:
        return classify(text, labels, lexicon)
    first, second = review.labels[text_hash(text)[:HASH_DIGITS]]
    return Classification(_DROPPED.get(label, label), f"labelled {first} and {second}")


def review_facts(review: Review, read: Collection[Row], classified: Collection[Row]) -> dict[str, Any]:
    """For the manifest: rows to classify and how many had a label, labels without a row in the copy, agreement.

    read: the copy's rows as read; classified: those of them that were classified.
    """
    here = {text_hash(row.text)[:HASH_DIGITS] for row in read}
    return {
        "rows": len(classified),
        "rows_with_a_label": sum(review.label(row.text) is not None for row in classified),
        "labels": len(review.labels),
        "labels_without_a_row": sum(digest not in here for digest in review.labels),
        "agreement": review.agreement,
    }
