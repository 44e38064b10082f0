"""A finished run's model as a folder of its own: safetensors, tokenizer with chat template, card; nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.storage.files import whole, writing

# final/ also holds training_args.bin: pickled, with the trainer's paths
PUBLISHED = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*.json", "tokenizer.model", "chat_template*.jinja"),
    *("special_tokens_map.json", "vocab.json", "merges.txt"),
)
# where the trainer's machine had the base; and a mark that lets transformers make the generation config anew
_DROPPED = ("_name_or_path", "name_or_path", "_from_model_config")


def write_model_folder(weights: Path, card: str, sampling: dict[str, Any], target: Path) -> None:
    """Copy what is published of `weights` into `target`, with the card; complete or not there.

    sampling: goes into generation_config.json. Errors: UserError where target exists or cannot be written.
    """
    if target.exists():
        raise UserError(f"{target} exists; remove it, or choose another folder with to=")
    with writing(target), whole(target) as partial:
        partial.mkdir()
        for path in sorted({path for pattern in PUBLISHED for path in weights.glob(pattern)}):
            shutil.copyfile(path, partial / path.name)
        for name in ("config.json", "tokenizer_config.json"):
            _rewrite(partial / name, {})
        _rewrite(partial / "generation_config.json", sampling)
        (partial / "README.md").write_text(card, encoding="utf-8")


def _rewrite(path: Path, added: dict[str, Any]) -> None:
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {key: value for key, value in values.items() if key not in _DROPPED}
    path.write_text(json.dumps(kept | added, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
