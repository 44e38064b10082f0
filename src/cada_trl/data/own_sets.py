"""Sets of one's own: any JSONL or CSV file as a benchmark, its columns guessed and said in one line; held-out twins.

A set is harmful or harmless; a file with rows of both kinds is two sets. No torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cada_trl.config import DataConfig
from cada_trl.config.loading import nearest
from cada_trl.data.benchmark_items import BenchmarkSpec, Item, item_id, load_spec, names
from cada_trl.data.classify import classify
from cada_trl.data.likeness import near_duplicates, normalise
from cada_trl.data.rows import Row, Source
from cada_trl.data.sources import read_twins
from cada_trl.data.split import pair_roles, wanted_twin
from cada_trl.errors import UserError
from cada_trl.hazards.pack import TWINS
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.reading import HALF_PAIR, MAX_ROWS_BYTES, Problems, read_csv
from cada_trl.visible import visible

# Of a kind the first name that the file has is taken, whatever its capitals.
COLUMNS = {
    "text": ("text", "prompt", "request", "question", "goal", "instruction", "query", "behavior"),
    "harmful": ("harmful", "is_harmful", "label"),
    "hazard": ("hazard", "category"),
    "id": ("id",),
}
NEEDED = {
    "text": f"no column with the request; name it {', '.join(COLUMNS['text'])}",
    "harmful": "no column says which rows are harmful; add 'harmful' with true or false in every row",
}
ANSWERS = dict.fromkeys(("1", "true", "yes", "harmful", "unsafe"), True)
ANSWERS |= dict.fromkeys(("0", "false", "no", "harmless", "safe"), False)
EXPECTED = {"text": "a text", "harmful": "true or false", "hazard": "a text or nothing", "id": "a text or whole number"}
ADVICE = "expected a JSONL or CSV file in UTF-8, a CSV with the columns' names in its first line"
TWIN_SETS = {"twins_harmful": True, "twins_harmless": False}
ALIKE = 0.8  # near_duplicate_jaccard of hydra_conf/data

Sets = list[tuple[BenchmarkSpec, list[Item] | None]]  # a set and its items, None where load_items has them


def is_own(word: str) -> bool:
    """Whether the word of benchmarks= is a file's path: it has a dot or a slash, and is no benchmark's name."""
    return word not in names() and ("." in word or "/" in word)


def find_sets(words: Sequence[str], hazards: Collection[str], twins_file: str | None = None) -> tuple[Sets, list[str]]:
    """The sets of benchmarks=, with the items of one's own files, and a line for each of these on how it was read.

    twins_file: whose held-out pairs TWIN_SETS are; None for the embedded ones. Errors: UserError as load_spec, read_own
    and read_twins, and for two sets of one name.
    """
    sets: Sets = []
    lines, problems = [], []
    twins: dict[str, tuple[BenchmarkSpec, list[Item]]] = {}
    for word in words:
        if word in TWIN_SETS:
            if not twins:
                twins, line = _held_out_twins(twins_file, hazards)
                lines.append(line)
            sets.append(twins[word])
        elif is_own(word):
            try:
                own, line = read_own(word, hazards)
                sets += own
                lines.append(line)
            except UserError as error:  # of another file, too, before the first is corrected
                problems.append(str(error))
        elif word in names():
            sets.append((load_spec(word), None))
        else:
            raise UserError(f"unknown benchmark '{word}'; {nearest(word, [*names(), *TWIN_SETS])}")
    if problems:
        raise UserError("; ".join(problems))
    counts = Counter(spec.name for spec, _ in sets)
    if twice := [name for name, n in counts.items() if n > 1]:
        raise UserError(f"benchmarks={','.join(words)}: two sets would be called {twice[0]}; rename a file")
    return sets, lines


def read_own(word: str, hazards: Collection[str]) -> tuple[Sets, str]:
    """The file's sets, named by its stem, and which columns were taken. Another content has other item ids.

    A request that stands several times is asked once: its copies are no further evidence. hazards: of the pack; a row
    that names none of them gets the classifier's. Errors: UserError with every problem of the file, and for one that
    cannot be read.
    """
    path = Path(word).expanduser()
    if path.suffix not in {".jsonl", ".csv"}:
        raise UserError(f"benchmarks={word}: expected a .jsonl or .csv file, or names of {', '.join(names())}")
    digest = file_sha256(path, ADVICE, MAX_ROWS_BYTES)
    problems = Problems()
    is_csv = path.suffix == ".csv"
    lines = read_csv(path, advice=ADVICE, problems=problems) if is_csv else read_jsonl(path, problems=problems)
    if not (read := list(lines)):
        problems.end()
    spellings = dict.fromkeys(name for _, row in read for name in row)
    found = {name.strip().lower(): name for name in reversed(spellings)}
    if twice := [name for name in spellings if found[name.strip().lower()] != name]:
        problems.add(str(path), f"the column {twice[0]!r} stands twice, but for capitals and blanks; rename one")
    guessed = ((kind, next((found[name] for name in known if name in found), None)) for kind, known in COLUMNS.items())
    columns = {kind: name for kind, name in guessed if name is not None}
    rows: dict[int, dict[str, Any]] = {
        number: {kind: row.get(name) for kind, name in columns.items()} for number, row in read
    }
    _check_file(path, [*found.values()], columns, problems)
    repeated = _check_rows(path, rows, columns, problems)
    problems.end()
    if file_sha256(path, ADVICE, MAX_ROWS_BYTES) != digest:
        raise UserError(f"benchmarks={word}: the file changed while it was read; the same command reads it again")
    rows = {number: row for number, row in rows.items() if number not in repeated}
    sets: Sets = []
    n_guessed = 0
    by_kind = {kind: {n: row for n, row in rows.items() if _answer(row["harmful"]) is kind} for kind in (True, False)}
    for kind, own in by_kind.items():
        name = path.stem if len(own) == len(rows) else f"{path.stem}_{_word(kind)}"
        items = []
        for number, row in own.items():
            category = str(row.get("hazard") or "")
            hazard = category if category in hazards else classify(row["text"]).hazard
            n_guessed += category not in hazards
            named = item_id(f"{name}-{digest[:8]}", str(row.get("id", number)))
            items.append(Item(named, name, row["text"], hazard if hazard in hazards else None, category, kind))
        if items:
            sets.append((_spec(name, kind, len(items), path.name, digest, columns), items))
    counts = ", ".join(f"{len(own)} {_word(kind)}" for kind, own in by_kind.items())
    said = [f"{kind} from {name!r}" + (f" ({counts})" if kind == "harmful" else "") for kind, name in columns.items()]
    n_none = sum(item.hazard is None for _, items in sets for item in items or ())
    none = f", which finds none of the pack for {n_none}" if n_none else ""
    rest = f", the hazard of {n_guessed} of {len(rows)} rows by the classifier{none}" if n_guessed else ""
    copies = f", {len(repeated)} rows left out that repeat another's request" if repeated else ""
    return sets, visible(f"benchmarks={word}: {', '.join(said)}{rest}{copies}")


def count_seen(file: str | None, data: DataConfig) -> int:
    """Pairs of held_out with nearly a text that a training on `data` may have seen, whatever it drew.

    Of rows of its own beside twins: those of a JSONL file that is still there. Errors: UserError as read_twins.
    """
    twins = _read_twins(data.file if data.dataset == "twins" else None).rows
    roles = pair_roles(twins, data.held_out_hazards)
    never = roles.probe | roles.held_out
    seen = [row.key for row in twins if row.pair not in never and wanted_twin(row, roles, data)]
    if data.dataset == "jsonl" and (own := Path(data.file or "")).is_file():
        seen += [normalise(str(values.get("text"))) for _, values in read_jsonl(own)]
    return len(_alike(held_out(file)[0].rows, seen))


def _read_twins(file: str | None, hazards: Collection[str] | None = None) -> Source:
    return read_twins(Path(file).expanduser(), hazards) if file else read_twins()


def held_out(file: str | None, hazards: Collection[str] | None = None) -> tuple[Source, set[str | None]]:
    """The rows of the pairs that no training on the file sees, whatever its settings (None: the embedded twins); and
    the pairs among these that are left out: nearly the text of one that it sees. Errors: UserError as read_twins, and
    where no pair is left."""
    source = _read_twins(file, hazards)
    probed = pair_roles(source.rows, ()).probe
    rows = [row for row in source.rows if row.pair in probed]
    # the embedded ones hold none, and are many
    leaked = _alike(rows, [row.key for row in source.rows if row.pair not in probed]) if file else set()
    if not (kept := [row for row in rows if row.pair not in leaked]):
        raise UserError(f"{file}: every held-out pair is nearly the text of one that is trained on; write other pairs")
    return replace(source, rows=kept), leaked


def _alike(rows: Sequence[Row], seen: Sequence[str]) -> set[str | None]:
    """The pairs of the rows with a text that is nearly one of those seen."""
    alike = near_duplicates([*seen, *(row.key for row in rows)], ALIKE, len(seen))
    return {rows[i - len(seen)].pair for i, other in alike.items() if other < len(seen)}


def _held_out_twins(
    file: str | None, hazards: Collection[str]
) -> tuple[dict[str, tuple[BenchmarkSpec, list[Item]]], str]:
    source, leaked = held_out(file, hazards)
    twins = {}
    for name, harmful in TWIN_SETS.items():
        items = [
            Item(item_id(name, str(row.pair)), name, row.text, hazard if hazard in hazards else None, hazard, harmful)
            for row, hazard in ((row, str(row.hazard)) for row in source.rows)
            if row.harmful is harmful
        ]
        columns = {"text": "text", "id": "pair", "hazard": "hazard"}
        spec = _spec(name, harmful, len(items), source.origin["file"], source.origin["sha256"], columns)
        twins[name] = spec, items
    left_out = f", {len(leaked)} more left out: nearly the text of a pair that is trained on" if leaked else ""
    return twins, f"held-out twins: {len(source.rows) // 2} pairs of {file or TWINS.name}{left_out}"


def _check_file(path: Path, names_there: Sequence[str], columns: dict[str, str], problems: Problems) -> None:
    stem, file = path.stem, str(path)
    if not re.fullmatch(r"[\w.-]+", stem):
        problems.add(file, f"the set takes the file's name, {stem!r}; rename it to letters, digits, _, - and dots")
    elif stem in {*names(), *TWIN_SETS, "twins"}:
        problems.add(file, f"{stem} is the name of another set; rename the file")
    lacking = [advice for kind, advice in NEEDED.items() if kind not in columns]
    if lacking and names_there:
        problems.add(file, f"{'; '.join(lacking)}; its columns are {', '.join(map(repr, names_there))!s:.200}")
    elif lacking:
        problems.add(file, "it holds no rows")


def _check_rows(path: Path, rows: dict[int, dict[str, Any]], columns: dict[str, str], problems: Problems) -> set[int]:
    """The numbers of the rows that repeat the request of an earlier one."""
    ids = set[tuple[Any, str]]()
    first: dict[str, int] = {}
    repeated = set[int]()
    for number, row in rows.items():
        where = f"{path}, row {number}"
        wrong = [kind for kind, value in row.items() if not _fits(kind, value)]
        named = (_answer(row.get("harmful")), item_id("", str(row.get("id"))))  # 7 and 007 are one item
        if wrong:
            problems.add(where, f"{columns[wrong[0]]!r} is {row[wrong[0]]!r:.60}, expected {EXPECTED[wrong[0]]}")
        elif "id" in row and named in ids:
            problems.add(where, f"{columns['id']!r} {row['id']!r:.60} stands twice")
        elif (same := first.setdefault(normalise(row.get("text", "")) or where, number)) != number:
            repeated.add(number)
            if _answer(rows[same].get("harmful")) is not named[0]:
                asked = columns["harmful"]
                problems.add(where, f"the request of row {same} with the other answer to {asked!r}; keep one")
        ids.add(named)
    return repeated


def _fits(kind: str, value: Any) -> bool:
    if kind == "harmful":
        return _answer(value) is not None
    if kind == "hazard" and value is None:
        return True
    is_whole = isinstance(value, str) and HALF_PAIR.search(value) is None
    if kind == "id":
        return (is_whole and bool(value)) or type(value) is int
    return is_whole and (kind == "hazard" or bool(value.strip()))


def _answer(value: Any) -> bool | None:
    return ANSWERS.get(str(value).strip().lower())


def _word(harmful: bool) -> str:
    return "harmful" if harmful else "harmless"


def _spec(name: str, harmful: bool, n: int, file: str, digest: str, columns: dict[str, str]) -> BenchmarkSpec:
    values = {
        **{"name": name, "n": n, "harmful": harmful, "source": file, "file": file, "sha256": digest},
        **{"licence": "not known", "hazards": {"by": [], "table": {}, "priors": {}}},
        "columns": {"text": columns["text"], "id": columns.get("id"), "category": columns.get("hazard")},
    }
    return BenchmarkSpec.model_validate(values)
