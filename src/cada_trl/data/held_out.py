"""Held-out hazards stay out of training: checked on the request set as read, however it came to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cada_trl.data.normalise import normalise
from cada_trl.errors import UserError
from cada_trl.records import Request

TRAINED_ON = ("train", "benign_train")


def check_no_leak(parts: Mapping[str, Sequence[Request]], held_out_hazards: Collection[str], where: object) -> None:
    """Errors: UserError for a training request of a held-out hazard, or one that is asked in a probe, or whose twin is.

    The probes may share rows: twins_probe repeats some of probe, held_out and harmless_probe beside their twins.
    """
    probed = [(name, request) for name, part in parts.items() if name not in TRAINED_ON for request in part]
    asked = {normalise(request.text): name for name, request in probed}
    asked_pairs = {request.pair: name for name, request in probed if request.pair is not None}
    for name in TRAINED_ON:
        for number, request in enumerate(parts[name], start=1):
            leak = None
            if request.hazard in held_out_hazards:
                leak = f"is of the hazard '{request.hazard}', which is held out"
            elif normalise(request.text) in asked:
                leak = f"is also in {asked[normalise(request.text)]}.jsonl"
            elif request.pair in asked_pairs:
                leak = f"has its twin in {asked_pairs[request.pair]}.jsonl"
            if leak:
                raise UserError(
                    f"{where}/{name}.jsonl, row {number}: '{request.id}' {leak}; delete the folder and prepare again"
                )
