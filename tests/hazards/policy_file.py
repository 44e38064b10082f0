"""A policy file with the example in it, and words of it changed."""

from cada_trl.policy import new


def example(folder):
    """The policy `mine` below the folder."""
    new(f"{folder}/mine")
    return folder / "mine"


def edit(folder, old, changed):
    file = folder / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, changed, 1), encoding="utf-8")
