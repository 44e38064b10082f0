"""The memory plan of every model on every hardware file that names its card, as a Markdown table.

python -m cada_trl.planning.table          (docs/running.md holds what it prints)
"""

from __future__ import annotations

from itertools import product

import yaml

from cada_trl.config import CONF_DIR, load_config
from cada_trl.document.markdown import table
from cada_trl.errors import UserError, run_verb
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of

MODELS = ["smollm2", "llama3", "llama3_70b"]  # deepthought has llama3's shape but for four tokens
SERVER = "server_url='http://server:8000'"


def main(argv: list[str]) -> int:
    """The verb. Errors: UserError for any argument: it takes none."""
    if argv:
        raise UserError(f"'{argv[0]}': this table takes no arguments; python -m cada_trl.doctor plans one run")
    print(memory_table())
    return 0


def memory_table() -> str:
    """GB a GPU at the longest sequences, and whether that fits."""
    names = hardware_files()
    choices = product(MODELS, ("none", "lora"), ("transformers", "vllm_colocate", "vllm_server"))
    rows = [
        [model, "full" if peft == "none" else peft, rollout, *(_cell(model, peft, rollout, name) for name in names)]
        for model, peft, rollout in choices
    ]
    return table(["model", "training", "rollout", *names], rows)


def hardware_files() -> list[str]:
    """The choices of hydra_conf/hardware that name a card, smallest first."""
    files = {file.stem: yaml.safe_load(file.read_text("utf-8")) for file in (CONF_DIR / "hardware").glob("*.yaml")}
    named = {name: values for name, values in files.items() if values["accelerator"]}
    return sorted(named, key=lambda name: (named[name]["n_processes"], named[name]["accelerator"]))


def _cell(model: str, peft: str, rollout: str, hardware: str) -> str:
    words = [f"model={model}", f"peft={peft}", f"rollout={rollout}", f"hardware={hardware}"]
    try:
        config = load_config([*words, *([SERVER] if rollout == "vllm_server" else [])])
    except UserError:
        return "refused"
    plan = plan_memory(config, shape_of(config.model))
    return f"{plan.peak_gb:.0f} GB {'fits' if plan.fits else 'too large'}"


if __name__ == "__main__":
    run_verb(main)
