"""A policy file with the example in it, and words of it changed."""

from cada_trl.policy import TEMPLATE, new

BESIDE = next(line for line in TEMPLATE.read_text(encoding="utf-8").splitlines(True) if line.startswith("beside:"))


def example(folder):
    """The policy `mine` below the folder, without what the example has beside its own."""
    new(f"{folder}/mine")
    edit(folder / "mine", BESIDE, "")
    return folder / "mine"


def edit(folder, old, changed):
    file = folder / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, changed, 1), encoding="utf-8")
