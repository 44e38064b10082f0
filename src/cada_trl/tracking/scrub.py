"""Takes everything that looks like a secret out of what a run publishes (manifest, W&B, report)."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "<hidden>"

_SECRETS = [
    re.compile(r"\b(hf|ghp|gho|github_pat|wandb_v\d)_[A-Za-z0-9_]{8,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=://)[^/@\s]+(?=@)"),  # user:password in a URL
    re.compile(r"(?<=Bearer )\S+"),
]
# `api_key=...`, `?token=...`; not `api_key_env=...`, which only names a variable
_NAMED = re.compile(r"(?i)((?:key|token|secret|password)=)[^&\s]+")
_URL = re.compile(r"\w+://\S+")
_LONG_HEX = re.compile(r"\b[0-9a-fA-F]{32,}\b")  # only inside URLs: commits and file hashes are no secrets


def scrub(value: Any) -> Any:
    """A copy of plain JSON values where what looks like a key, token or password reads <hidden>."""
    if isinstance(value, dict):
        return {key: scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    return _scrub_text(value) if isinstance(value, str) else value


def _scrub_text(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(HIDDEN, text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _URL.sub(lambda url: _LONG_HEX.sub(HIDDEN, url.group()), text)
