"""The pairs of benchmarks that a probe is asked about: harmful requests beside harmless ones.

Read from the folder of benchmarks only, never from the hub; a file that is not there is named. Large sets are thinned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cada_trl.evals.benchmarks import load_items, load_spec
from cada_trl.storage.digest import file_sha256


@dataclass(frozen=True)
class TextSet:
    """label: what the texts are, in words. absent: what was looked for in vain; the texts are then []."""

    label: str
    texts: list[str]
    absent: str | None = None


@dataclass(frozen=True)
class Wanted:
    """A set of hydra_conf/benchmark/, or of two the first whose file is there. every: one row of that many is taken."""

    label: str
    benchmarks: dict[str, int]  # name -> every


PAIRS = (  # harmful, harmless
    ("xstest_unsafe", "xstest_safe"),
    ("strongreject", "xstest_safe"),
    ("jailbreakbench_harmful", "jailbreakbench_benign"),
    ("advbench", "or_bench_hard"),
)
SETS = {
    "xstest_unsafe": Wanted("XSTest unsafe", {"xstest_unsafe": 1}),
    "xstest_safe": Wanted("XSTest safe", {"xstest_safe": 1}),
    "strongreject": Wanted("StrongREJECT", {"strongreject": 1}),
    "jailbreakbench_harmful": Wanted("JailbreakBench harmful", {"jailbreakbench_harmful": 1}),
    "jailbreakbench_benign": Wanted("JailbreakBench benign", {"jailbreakbench_benign": 1}),
    "advbench": Wanted("AdvBench", {"advbench": 4}),
    "or_bench_hard": Wanted("OR-Bench hard", {"or_bench_hard": 4, "or_bench_hard_part": 1}),
}


def read_sets(folder: Path | None) -> dict[str, TextSet]:
    """Every set by its key. Errors: UserError for a file that is not the published one."""
    return {key: read_set(key, folder) for key in SETS}


def read_set(key: str, folder: Path | None) -> TextSet:
    """The set's texts, or the file that was expected. Errors: UserError for a file that is not the published one."""
    wanted = SETS[key]
    for name, every in wanted.benchmarks.items():
        spec = load_spec(name)
        if folder is not None and (folder / spec.file).is_file():
            texts = [item.request for item in load_items(spec, folder, None, 0)]
            parts = [f"every {every}th row"] if every > 1 else []
            parts += ["a published part"] if name.endswith("_part") else []
            label = f"{wanted.label} ({', '.join(parts)})" if parts else wanted.label
            return TextSet(label, texts[::every])
    return TextSet(wanted.label, [], expected(key, folder))


def expected(key: str, folder: Path | None) -> str:
    """The file or files that hold the set, as a reader would look for them."""
    files = [str((folder or Path("<benchmarks_dir>")) / load_spec(name).file) for name in SETS[key].benchmarks]
    return " or ".join(files)


def files_digest(folder: Path | None) -> dict[str, str | None]:
    """Benchmark -> the SHA-256 of its file; None where it is absent."""
    names = [name for wanted in SETS.values() for name in wanted.benchmarks]
    files = {name: folder / load_spec(name).file for name in names} if folder is not None else {}
    return {name: file_sha256(files[name]) if name in files and files[name].is_file() else None for name in names}
