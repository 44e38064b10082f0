"""docs/one_training_step.md walks the files of a step in order, and they are few enough to be read in one sitting."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "one_training_step.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "cada_trl"
NAMED = list(dict.fromkeys(re.findall(r"`((?:\w+/)?\w+\.py)(?:: [\w.]+)?`", PAGE)))


def test_a_step_is_at_most_sixteen_files_and_fifteen_hundred_lines():
    files = [SOURCE / name for name in NAMED]
    assert all(file.is_file() for file in files), [str(file) for file in files if not file.is_file()]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert 10 <= len(files) <= 16
    assert len(lines) <= 1500  # blank ones are not read


def test_the_page_goes_from_the_verb_to_the_loss():
    places = [NAMED.index(name) for name in ("train.py", "training/requests.py", "models/sampling.py", "reward.py")]
    places += [NAMED.index(f"algo/{name}.py") for name in ("baseline", "packing", "scores", "objective")]
    assert places == sorted(places)


def test_every_function_that_the_page_names_is_in_its_file():
    named = re.findall(r"`((?:\w+/)?\w+\.py): ([\w.]+)`", PAGE)
    assert len(named) >= 10
    for file, name in named:
        text = (SOURCE / file).read_text(encoding="utf-8")
        for part in name.split("."):
            assert re.search(rf"(def|class) {part}\b", text), f"{file}: {name}"
