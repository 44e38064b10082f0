"""Texts of a form: names, folders, addresses, environment variables."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from cada_trl.arguments import HOME

MAX_NAME_BYTES = 200  # a file system takes 255, and locks and temporary files add to a name
SECRET_ENDS = ("_url", "_env")  # of keys whose wrong values are not repeated: a password may be in them

NO_SECRETS = "an address is stored with the results, so it holds no password, ? or #"


def _name(text: str) -> str:
    ends = text.startswith(".") or text != text.strip()
    if ends or not text.isprintable() or {"/", "\\"} & set(text) or len(text.encode()) > MAX_NAME_BYTES:
        raise ValueError(
            f"expected a name of at most {MAX_NAME_BYTES} bytes, without / and \\, a leading dot, blanks at its ends "
            "or control characters"
        )
    return text


def _project(text: str) -> str:
    if len(text) > 128 or set("#?%:") & set(text):
        raise ValueError("expected a name of at most 128 characters, without # ? % and :, as W&B takes it")
    return text


def _folder(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("expected a folder, without blanks at its ends or control characters")
    if text.startswith("~"):
        raise ValueError(HOME)
    return text


def _address(text: str, info: ValidationInfo) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket that is left open
        parts, is_address = urlsplit(""), False
    if "@" in text or parts.query or parts.fragment:
        name = str(info.field_name)
        key = name.replace("base_url", "api_key_env")
        named = f"export the key and name its variable: {key}=MY_API_KEY"
        advice = "vLLM's server takes none" if key == name else named
        raise ValueError(f"{NO_SECRETS}; {advice}")
    if not is_address or not text.isprintable() or " " in text:
        raise ValueError("expected an address, as in http://127.0.0.1:8000/v1")
    return text


def _different(texts: list[str]) -> list[str]:
    if not texts or len(set(texts)) < len(texts):
        raise ValueError("expected one address or several different ones, as in http://a:8000,http://b:8000")
    return texts


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("expected words, not blanks alone")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", text):
        raise ValueError("expected the name of an environment variable in capitals, as in OPENAI_API_KEY, not the key")
    return text


Name = Annotated[str, AfterValidator(_name)]
Project = Annotated[Name, AfterValidator(_project)]
Folder = Annotated[str, AfterValidator(_folder)]
Address = Annotated[str, AfterValidator(_address)]
Addresses = (
    Annotated[
        list[Address],
        BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
        AfterValidator(_different),
    ]
    | None
)
Words = Annotated[str, AfterValidator(_words)]
Variable = Annotated[str, AfterValidator(_variable)]
