"""Fixtures of the trainer tests."""

from itertools import count

import pytest

from .preset_run import cada_trainer
from .tiny import tiny_llama, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """The model saved, since TRL loads the reference from the policy's own folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def build(tiny_folder, tmp_path):
    """cada_trainer, each time in a folder of its own."""
    number = count()
    return lambda **changes: cada_trainer(tiny_folder, tmp_path / str(next(number)), **changes)


@pytest.fixture
def run(build):
    """cada_trainer, trained."""

    def trained(**changes):
        trainer, records = build(**changes)
        trainer.train()
        return trainer, records

    return trained
