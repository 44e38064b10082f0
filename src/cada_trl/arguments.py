"""The words of a verb that takes folders and options: what argparse would say in several lines is said in one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from cada_trl.errors import UserError

HOME = "~ is the shell's; write the folder out, as in /home/me/runs"


class Arguments(argparse.ArgumentParser):
    """An option's name is written out: --chek is no --check."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Errors: UserError, always."""
        raise UserError(f"{message}; {self.prog} --help lists what there is")


def destination(word: str) -> Path:
    """For `type=`: a folder to write to; an empty word would be the working folder."""
    if not word.strip():
        raise argparse.ArgumentTypeError("an empty word is no folder")
    if word.startswith("~"):
        raise argparse.ArgumentTypeError(f"{word}: {HOME}")
    return Path(word)


def folder(word: str) -> Path:
    """For `type=`: a folder that is there; an empty word would be the working folder."""
    if not word.strip() or not Path(word).is_dir():
        raise argparse.ArgumentTypeError(f"{word or 'an empty word'} is no folder")
    return Path(word)
