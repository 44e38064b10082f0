"""Words that stand for others: `recipe=smollm2/cada` for the model and the overrides in recipes/smollm2/cada.yaml,
`policy=mine` for the hazards and the twins that policies/mine/policy.yaml, or a shipped one, is compiled to.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from cada_trl.config.loading import as_override, nearest
from cada_trl.errors import UserError
from cada_trl.hazards.policy import compile_policy
from cada_trl.storage.reading import read_yaml


def expand_recipes(words: Sequence[str], recipes: Path) -> list[str]:
    """The words with each recipe's and policy's in its place, so that what comes after it wins.

    Errors: as recipe_words and compile_policy.
    """
    expanded: list[str] = []
    for word in words:
        key, _, name = word.partition("=")
        if key == "recipe":
            expanded += [f"model={name.partition('/')[0]}", *recipe_words(name, recipes)]
        elif key == "policy":
            expanded += ["data=twins", *_policy_words(name, "file")]
        else:
            expanded.append(word)
    return expanded


def expand_policies(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The same for a verb that does not train: hazards and twins_file, where it has these keys.

    Errors: as compile_policy.
    """
    expanded: list[str] = []
    for word in words:
        key, _, name = word.partition("=")
        expanded += _policy_words(name, "twins_file", keys) if key == "policy" else [word]
    return expanded


def _policy_words(name: str, twins: str, keys: Collection[str] | None = None) -> list[str]:
    """twins: the verb's key for them. keys: those that the verb has; None: all."""
    made = compile_policy(name)
    given = {"hazards": str(made.pack), twins: str(made.twins), "licence": made.licence}
    return [as_override(key, value) for key, value in given.items() if keys is None or key in keys]


def recipe_words(name: str, recipes: Path) -> list[str]:
    """The overrides of the recipe <model>/<name>. Errors: UserError for an unknown one, with the nearest."""
    files = [file for file in recipes.glob("*/*.yaml") if file.parent.name != "tables"]
    known = {f"{file.parent.name}/{file.stem}": file for file in files}
    if name not in known:
        raise UserError(f"recipe={name}: no such recipe; {nearest(name, known)}")
    words = read_yaml(known[name])
    if not isinstance(words, list):
        raise UserError(f"{known[name]} holds a {type(words).__name__}; expected a list of key=value")
    return [str(word) for word in words]
