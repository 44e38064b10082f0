"""When two texts count as the same text: NFKC, casefold, no punctuation, single spaces."""

from __future__ import annotations

import re
import unicodedata

from cada_trl.storage.digest import sha256

_APOSTROPHES = re.compile(r"['’ʼ`]")
_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """The text's comparison form; empty when it holds no letter and no digit (ours: the paper names no rule)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # An apostrophe joins ("don't" -> "dont"), so that the two spellings of a contraction meet.
    return _NOT_WORD.sub(" ", _APOSTROPHES.sub("", folded)).strip()


def text_hash(text: str) -> str:
    """SHA-256 (hex) of the comparison form: the identity of a request, whatever its case or punctuation."""
    return sha256(normalise(text))
