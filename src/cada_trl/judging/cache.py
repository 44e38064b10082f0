"""Verdicts that were paid for once: an append-only JSONL that survives a crash and several writers."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict

Key = tuple[str, str, str]  # judge id, hash of the request, hash of the final response


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()[:32]


class VerdictCache:
    """Remembers scored verdicts by (judge id, request, final response); texts are stored as hashes only.

    A judge's id holds the hash of its prompt: the verdicts of another version stay in the file and are not found.

    A line that a crash tore is ignored: its verdict is asked for again. What no label was
    given to is never stored, for the same reason.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: dict[Key, Judged] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            self._file = path.open("a", encoding="utf-8")
            if text and not text.endswith("\n"):
                self._append("\n")  # otherwise the next verdict would be glued to the torn line
        except OSError as error:
            raise UserError(
                f"cannot use the verdict cache {path}: {error.strerror}; choose a writable folder"
            ) from error
        for line in text.splitlines():
            self._remember(line)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, judge_id: str, request: str, response: str) -> Judged | None:
        """The stored verdict, or None."""
        return self._known.get((judge_id, _sha(request), _sha(response)))

    def put(self, judge_id: str, request: str, response: str, judged: Judged) -> None:
        """Store a label at once, on disk too; a pair without any is left out. Safe from several threads."""
        if not judged.scored:
            return
        key = (judge_id, _sha(request), _sha(response))
        row: dict[str, object] = dict(zip(("judge", "request", "response"), key, strict=True))
        row |= {"verdict": judged.verdict.value, "raw": judged.raw, "reason": judged.reason}
        row |= {"harmful": judged.harmful, "harmful_score": judged.harmful_score}
        with self._lock:
            self._known[key] = judged
            self._append(json.dumps(row) + "\n")

    def _append(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()

    def _remember(self, line: str) -> None:
        try:
            row = json.loads(line)
            labels = row.get("harmful"), row.get("harmful_score")
            judged = Judged(Verdict(row["verdict"]), row["raw"], row["reason"], *labels)
            self._known[row["judge"], row["request"], row["response"]] = judged
        except (ValueError, KeyError, TypeError):
            return
