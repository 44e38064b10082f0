"""Verdicts that were paid for once: an append-only JSONL that survives a crash and several writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict
from cada_trl.storage.digest import sha256
from cada_trl.storage.log import SharedLog

Key = tuple[str, str, str]  # judge id, hash of the request, hash of the final response


def _key(judge_id: str, request: str, response: str) -> Key:
    return judge_id, sha256(request)[:32], sha256(response)[:32]


class VerdictCache:
    """Remembers scored verdicts by (judge id, request, final response); texts are stored as hashes only.

    A judge's id holds the hash of its prompt: the verdicts of another version stay in the file and are not found.
    What no label was given to is never stored: it is asked for again. Errors: UserError as SharedLog.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[Key, Judged] = {}
        self._log = SharedLog(path, "verdict cache", self._remember)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, judge_id: str, request: str, response: str) -> Judged | None:
        """The stored verdict, or None."""
        return self._known.get(_key(judge_id, request, response))

    def put(self, judge_id: str, request: str, response: str, judged: Judged) -> None:
        """Store a label at once, on disk too; a pair without any is left out. Safe from several threads."""
        if not judged.scored:
            return
        row: dict[str, Any] = dict(
            zip(("judge", "request", "response"), _key(judge_id, request, response), strict=True)
        )
        row |= {"verdict": judged.verdict.value, "raw": judged.raw, "reason": judged.reason}
        row |= {"harmful": judged.harmful, "harmful_score": judged.harmful_score}
        with self._log.alone() as append:
            append(row)

    def _remember(self, row: dict[str, Any]) -> None:
        labels = row.get("harmful"), row.get("harmful_score")
        judged = Judged(Verdict(row["verdict"]), row["raw"], row["reason"], *labels)
        self._known[row["judge"], row["request"], row["response"]] = judged
