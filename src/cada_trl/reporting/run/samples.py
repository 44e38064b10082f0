"""Which probe completions a reader sees: drawn at random with a fixed seed, so that nobody picked them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from cada_trl.reporting.run.run_record import ProbeRow, RunRecord
from cada_trl.tracking.metrics import PROBE_SETS

SAMPLE_SEED = 0
PER_SET = 8


@dataclass(frozen=True)
class Pair:
    """One request's completion before and after training; either may be absent in an unfinished run."""

    before: ProbeRow | None
    after: ProbeRow | None

    @property
    def either(self) -> ProbeRow:
        row = self.before or self.after
        assert row is not None
        return row


def sampled_pairs(run: RunRecord) -> dict[str, list[Pair]]:
    """Up to PER_SET pairs of each probe set, the same for every run on the same requests."""
    before = {(row.set, row.request_id): row for row in run.before}
    after = {(row.set, row.request_id): row for row in run.after}
    pairs: dict[str, list[Pair]] = {}
    for probe_set in PROBE_SETS:
        keys = sorted(key for key in before | after if key[0] == probe_set)
        chosen = random.Random(SAMPLE_SEED).sample(keys, min(PER_SET, len(keys)))
        if chosen:
            pairs[probe_set] = [Pair(before.get(key), after.get(key)) for key in chosen]
    return pairs
