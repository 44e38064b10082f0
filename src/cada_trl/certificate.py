"""certificate: the evaluations before and after a training -> one page and one JSON, which a reviewer makes again.

    python -m cada_trl.certificate evals/<before> evals/<after>           (into certificates/<after>)
    python -m cada_trl.certificate --check certificates/<name>/certificate.json

--check makes every number again from the verdicts, hashes every file, and says what differs: exit code 2 if anything
does. The two evaluations are of one suite, asked in one way, by one judge.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from cada_trl.arguments import Arguments, destination, folder
from cada_trl.config import PACKAGE_DIR, ModelConfig
from cada_trl.config.loading import check_values, flat
from cada_trl.data.own_sets import TWIN_SETS
from cada_trl.document.render import html
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.attacks import generated
from cada_trl.evaluation.folder import ATTEMPTS, MISSING, RESPONSES, SCORES
from cada_trl.evaluation.scores import withheld_lines
from cada_trl.hazards.pack import BUILTIN_DIR, PACK_FILE, TWINS, load_pack, pack_hash
from cada_trl.judging.card import CARDS
from cada_trl.report.certified import Certificate, certificate_page, certified
from cada_trl.report.records import EvalRecord, in_place, read_evaluated, verdict_files
from cada_trl.report.run_record import of_training
from cada_trl.storage.digest import CONFIG, MANIFEST, change, file_sha256, inputs_of
from cada_trl.storage.files import read_json, replace, replace_json
from cada_trl.tracking.manifest import git_state, scrub
from cada_trl.visible import visible

PAGE, JSON = "certificate.html", "certificate.json"
ABOUT = "What was measured before and after a training, and what was not. What was not scored is never a number."
_IN_PACKAGE = "package:"
_Input = tuple[str, Path, str | None]  # training or evaluation, a twins file or a case pack's page, its recorded digest
_ADVICE = "write the certificate again with python -m cada_trl.certificate evals/<before> evals/<after>"


def main(argv: list[str]) -> int:
    """The verb. Returns 2 where --check finds a difference. Errors: UserError, one line."""
    parser = Arguments(prog="python -m cada_trl.certificate", description="Certify a training.")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="evals/<before> evals/<after>")
    parser.add_argument(
        "--out", type=destination, help=f"folder for {PAGE} and {JSON}; certificates/<after> by default"
    )
    parser.add_argument(
        "--judge-cards", type=folder, help="where judging.calibrate kept its cards; runs/judge_cards by default"
    )
    parser.add_argument("--check", type=Path, metavar="FILE", help=f"a {JSON} to make again; nothing is written")
    arguments = parser.parse_args(argv)
    folders: list[Path] = arguments.folders
    if arguments.check is not None:
        if folders or arguments.out or arguments.judge_cards:
            raise UserError(
                f"--check takes one {JSON} alone; it names its evaluations and cards, and nothing is written"
            )
        found = list(check(arguments.check))
        for line in found or [f"{arguments.check}: every number is made again the same, and every file has its hash"]:
            print(visible(line))  # the file may be another's
        return 2 if found else 0
    if len(folders) != 2 or folders[0].resolve() == folders[1].resolve():
        raise UserError(
            f"{len(folders)} folder(s) given; expected two different evaluations, as in evals/<before> evals/<after>"
        )
    out = arguments.out or Path("certificates") / folders[1].resolve().name
    cards = arguments.judge_cards or (CARDS if CARDS.is_dir() else None)
    certificate = certify(folders[0], folders[1], out, cards)
    command = shlex.join(["python", "-m", "cada_trl.certificate", "--check", str(out / JSON)])
    page = html(certificate_page(certificate, command), ABOUT)
    replace(out / PAGE, page)
    files = {**certificate.files, PAGE: file_sha256(out / PAGE)}
    replace_json(out / JSON, certificate.model_copy(update={"files": files}).to_json())
    print(out / PAGE, out / JSON, sep="\n")
    return 0


def certify(before: Path, after: Path, out: Path, cards: Path | None) -> Certificate:
    """What a certificate in the folder `out` says. Errors: UserError for evaluations that say nothing of a training."""
    records = {"before": _evaluation(before), "after": _evaluation(after)}
    _check_comparable(records["before"], records["after"])
    inputs, said = list(_inputs(records["after"])), certified(records["before"], records["after"], cards)
    files = _files(records, inputs)
    return Certificate(
        made_by={"version": version("cada_trl"), "git": git_state(PACKAGE_DIR)},
        before=_place(before, out),
        after=_place(after, out),
        judge_cards=_place(cards, out) if cards else None,
        weights={side: _weights(record) for side, record in records.items()},
        files={_place(path, out): file_sha256(path, "it is part of the certificate") for path in files},
        **said | {"warnings": [*said["warnings"], *_changed(inputs, out)]},
    )


def check(file: Path) -> Iterator[str]:
    """A line for each thing that is not as the certificate says. Errors: UserError for a file that is none."""
    stored = Certificate.from_json(read_json(file, _ADVICE))
    out = file.parent.resolve()  # as _place takes it, where it lies below a link
    for name, digest in stored.files.items():
        path = _found(name, out)
        if not path.is_file():
            yield f"missing: {path}"
        elif (seen := file_sha256(path)) != digest:
            yield f"edited: {path}: SHA-256 {seen}, the certificate has {digest}"
    cards = _found(stored.judge_cards, out) if stored.judge_cards else None
    try:
        again = certify(_found(stored.before, out), _found(stored.after, out), out, cards)
    except UserError as error:
        yield f"cannot be made again: {error}"
        return
    left, right = (flat(one.model_dump(mode="json", exclude={"made_by", "files"})) for one in (stored, again))
    for key in dict.fromkeys([*left, *right]):
        if (said := left.get(key)) != (now := right.get(key)):
            yield f"differs: {key}: the certificate has {said!r:.200}, made again {now!r:.200}"
    if unknown := {*again.files, PAGE} - stored.files.keys():
        yield f"differs: files: the certificate lacks {', '.join(sorted(unknown))}"


def _evaluation(path: Path) -> EvalRecord:
    record = read_evaluated(path)
    if not (record.manifest.get("decides") or {}).get("model"):
        raise UserError(f"{path}/{MANIFEST} does not say which weights were asked; evaluate again")
    if all(cell.headline.value is None for cell in record.scores.cells):
        raise UserError(f"{path} has no rate: {(withheld_lines(record.scores) or ['nothing was asked'])[0]}")
    return record


def _check_comparable(before: EvalRecord, after: EvalRecord) -> None:
    sides = f"{before.path} and {after.path}"
    if before.scores.judge_id != after.scores.judge_id:
        judges = f"{before.scores.judge_id} and {after.scores.judge_id}"
        raise UserError(f"{sides} were judged by two judges, {judges}; judge both by one with judge=")
    decided = [record.manifest.get("decides") or {} for record in (before, after)]
    models = [one.get("model") or {} for one in decided]
    weights = [{name: value for name, value in one.items() if name.endswith(".safetensors")} for one in models]
    if models[0] == models[1] or (weights[0] and weights[0] == weights[1]):
        raise UserError(f"{sides} are of one model, by its weights; expected the untrained one and the trained one")
    if before.scores.min_coverage != after.scores.min_coverage:
        shares = f"{before.scores.min_coverage:g} and {after.scores.min_coverage:g}"
        raise UserError(f"{sides} have two min_coverage, {shares}; score both with one")
    for key in ("generator", "prompt"):
        if decided[0].get(key) != decided[1].get(key):
            seen = " and ".join(str(one.get(key)) for one in decided)
            raise UserError(f"{sides} were asked in two ways ({key}: {seen}); ask both in one")
    asked = [
        {(item.benchmark, item.request, str(item.hazard), one.attack) for one in side.attempts for item in (one.item,)}
        for side in (before, after)
    ]
    if unlike := asked[0] ^ asked[1]:
        name, _, _, attack = min(unlike)
        raise UserError(
            f"{sides} are of two suites: requests, hazards or attacks of {name} x {attack} are not the same in both; "
            "ask both models the same, with the same policy="
        )
    attackers = [
        {key: (one.config.get("attacker") or {}).get(key) for key in ("attacker_llm", "n_streams", "n_iterations")}
        for one in (before, after)
    ]
    if generated({attack for *_, attack in asked[1]}) and attackers[0] != attackers[1]:
        seen = " and ".join(map(str, attackers))
        raise UserError(f"{sides} were attacked by two attackers, {seen}; attack both by one")
    if of_training(before).config and not of_training(after).config:
        raise UserError(f"{before.path} is of a trained model and {after.path} of none; give them the other way round")


def _weights(record: EvalRecord) -> dict[str, str]:
    """As the evaluation recorded them. Errors: UserError where those that are here now are others."""
    from cada_trl.models.named import model_identity

    recorded: dict[str, str] = record.manifest["decides"]["model"]
    model = check_values(ModelConfig, record.config.get("model"))
    here = recorded if model.source == "hub" else in_place(record.path, lambda: model_identity(model))
    if wrong := sorted(name for name in recorded.keys() | here.keys() if recorded.get(name) != here.get(name)):
        raise UserError(f"the model of {record.path} is another now: {', '.join(wrong)} of {model.path}; restore it")
    return dict(scrub(recorded))


def _inputs(after: EvalRecord) -> Iterator[_Input]:
    """What the configurations of the training and the evaluation after it name by path alone."""
    run, decides = of_training(after), after.manifest.get("decides") or {}
    data, recorded = run.config.get("data") or {}, inputs_of(run.manifest)
    if data.get("dataset") == "twins":
        yield "training", Path(data.get("file") or TWINS), recorded.get("file" if data.get("file") else "twins")
    if names := TWIN_SETS.keys() & set(after.config.get("benchmarks") or ()):
        yield "evaluation", Path(after.config.get("twins_file") or TWINS), after.asked(min(names)).get("sha256")
    shown = (decides.get("prompt") or {}).get("hazards")
    for user, config, digest in (
        ("evaluation", after.config, shown),
        ("training", run.config, recorded.get("hazards_hash")),
    ):
        if config:
            name = str(config.get("hazards") or "builtin")
            yield user, (BUILTIN_DIR if name == "builtin" else Path(name)) / PACK_FILE, digest


def _changed(inputs: Iterable[_Input], out: Path) -> Iterator[str]:
    """A warning for each that is another one here than when it was used, since its hash here vouches for nothing."""
    for user, path, digest in inputs:
        is_pack = path.name == PACK_FILE
        if digest and (seen := change(path, digest, _pack_digest if is_pack else file_sha256)):
            what = f"the case pack {_place(path.parent, out)}" if is_pack else _place(path, out)
            yield f"Since the {user} {what} {seen}: what was used then is not among the files of this certificate."


def _pack_digest(page: Path) -> str:
    return pack_hash(load_pack(str(page.parent)))


def _files(records: Mapping[str, EvalRecord], inputs: Iterable[_Input]) -> list[Path]:
    """What the numbers come from: the evaluations' files, the training's, the twins and case packs of both."""
    files = [
        record.path / name
        for record in records.values()
        for name in (
            *(MANIFEST, CONFIG, ATTEMPTS, MISSING, RESPONSES),
            *(*verdict_files(record.scores).values(), SCORES),
        )
    ]
    run = of_training(records["after"])
    if run.config:
        files += [path for name in (CONFIG, MANIFEST, "train.jsonl") if (path := run.path / name).is_file()]
    for _, path, _ in inputs:
        files += sorted(path.parent.glob("*.y*ml")) if path.name == PACK_FILE else [path]
    return list(dict.fromkeys(files))


def _place(path: Path, out: Path) -> str:
    """From the certificate's folder, so that both can be moved together."""
    whole = path.resolve()
    if whole.is_relative_to(PACKAGE_DIR):
        return f"{_IN_PACKAGE}{whole.relative_to(PACKAGE_DIR)}"
    return os.path.relpath(whole, out.resolve())


def _found(place: str, out: Path) -> Path:
    inside = place.removeprefix(_IN_PACKAGE)
    return PACKAGE_DIR / inside if inside != place else Path(os.path.normpath(out / place))


if __name__ == "__main__":
    run_verb(main)
