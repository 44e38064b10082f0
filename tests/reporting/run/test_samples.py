from __future__ import annotations

import dataclasses

from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.samples import PER_SET, sampled_pairs


def test_the_same_requests_are_shown_whatever_the_outcome(run: RunRecord) -> None:
    other = dataclasses.replace(run, after=[row.model_copy(update={"reward": None}) for row in run.after])
    ids = [pair.either.request_id for pair in sampled_pairs(run)["harmful"]]
    assert ids == [pair.either.request_id for pair in sampled_pairs(other)["harmful"]]
    assert len(ids) == PER_SET


def test_a_pair_is_one_request(run: RunRecord) -> None:
    for pairs in sampled_pairs(run).values():
        for pair in pairs:
            assert pair.before is not None and pair.after is not None
            assert pair.before.request_id == pair.after.request_id


def test_an_unfinished_run_shows_what_it_has(run: RunRecord) -> None:
    pairs = sampled_pairs(dataclasses.replace(run, after=[]))["harmless"]
    assert all(pair.after is None and pair.before is not None for pair in pairs)
