"""MkDocs calls it: the pages beside docs/ become pages of the site, and links written for GitHub hold there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "recipes/README.md": "recipes.md",
}
LINK = re.compile(r"(!?\[[^\[\]]*\])\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    for source, page in BESIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """What is no page of the site leads to the repository, or is text alone where the site knows none (repo_url)."""
    folder = Path(page.file.abs_src_path).parent

    def of_the_site(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        to = (folder / target).resolve()
        if not to.is_relative_to(ROOT) or not to.exists():
            return link[0]  # --strict names it
        path = to.relative_to(ROOT).as_posix()
        inside = BESIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if inside:
            return f"{label}({inside}{anchor})"
        return f"{label}({config.repo_url.rstrip('/')}/blob/HEAD/{path}{anchor})" if config.repo_url else label[1:-1]

    return LINK.sub(of_the_site, markdown)
