"""SHA-256 of texts, files and plain values: what folders, caches and versions are named by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cada_trl.storage.reading import opened


def sha256(content: str | bytes) -> str:
    """64 hex digits; a text is taken as UTF-8, with half of a surrogate pair as it is."""
    return sha256_of([content.encode(errors="surrogatepass") if isinstance(content, str) else content])


def sha256_of(chunks: Iterable[bytes]) -> str:
    """The same of bytes that come in pieces."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path, advice: str = "get it again", max_bytes: int | None = None) -> str:
    """The same of a file, which need not fit into memory. Errors: UserError for one that is none, as opened."""
    with opened(path, advice, max_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Any) -> str:
    """The same of plain values, whatever the order of their keys."""
    return sha256(json.dumps(values, sort_keys=True))


def content_hash(values: Any) -> str:
    """Its first 8 digits, for names."""
    return json_sha256(values)[:8]
