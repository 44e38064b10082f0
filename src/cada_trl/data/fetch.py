"""data: every published file that can be had, downloaded below data_root and checked by its SHA-256.

    python -m cada_trl.data.fetch data_root=<folder>      (make data DATA_ROOT=<folder>)

The same command goes on after an interruption: a file that is there is checked, never fetched again or overwritten. For
a gated set log in with your own account (`hf auth login`). sources.json in the folder says where each file is from, its
licence and its SHA-256. Exit code 1 where a file that can be had was not.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from huggingface_hub import constants, get_token
from pooch import HTTPDownloader, get_logger, retrieve
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import HTTPError, RequestException, Timeout
from tqdm import tqdm

from cada_trl.config.loading import HELP
from cada_trl.data.published import HUB, PublishedFile, made, published_files
from cada_trl.errors import HelpAsked, UserError, run_verb
from cada_trl.storage.digest import file_sha256, sha256
from cada_trl.storage.files import GOES_ON, held, read_json, replace, replace_json, writing
from cada_trl.visible import visible

SOURCES = "sources.json"
DOWNLOADS = ".downloads"  # what is on its way, below data_root
TIMEOUT_S = 30.0  # ours
CHUNK_BYTES = 1 << 16
Outcome = Literal["fetched", "there", "no access", "no address", "failed"]


class _NotHad(Exception):
    """Why a file is not there, as a sentence. closes: the host or the page that it holds for as a whole."""

    def __init__(self, why: str, outcome: Outcome = "failed", closes: str | None = None) -> None:
        super().__init__(why)
        self.outcome: Outcome = outcome
        self.closes = closes


def main(argv: list[str]) -> int:
    """The verb. Returns 1 where a file that can be had was not. Errors: UserError for a folder that takes no file."""
    if HELP.intersection(argv):
        raise HelpAsked("")
    if len(argv) != 1 or not argv[0].startswith("data_root=") or argv[0].endswith("="):
        raise UserError(f"got {' '.join(argv) or 'nothing'}; expected data_root=<folder>, where the files shall be")
    return fetch(published_files(), Path(argv[0].removeprefix("data_root=")).expanduser())


def fetch(files: list[PublishedFile], root: Path) -> int:
    """Bring every file, a line each as it comes, then what was not had and why. Returns as main."""
    get_logger().setLevel(logging.WARNING)
    named: dict[tuple[Outcome, str], list[PublishedFile]] = {}
    with held(root / DOWNLOADS / "lock", f"another call fetches into {root}; wait for it"):
        for torn in (root / DOWNLOADS).glob("tmp*"):
            torn.unlink()
        sources = read_json(root / SOURCES) if (root / SOURCES).is_file() else {}
        folder = _Folder(root, sources)
        for number, file in enumerate(files, start=1):
            outcome, why = folder.bring(file)
            named.setdefault((outcome, why), []).append(file)
            print(visible(f"[{number:{len(str(len(files)))}}/{len(files)}] {outcome:10}  {file.file}"), flush=True)
        failed = any(outcome == "failed" for outcome, _ in named)
        if not failed:
            shutil.rmtree(root / DOWNLOADS, ignore_errors=True)
    for line in _summary(named, len(files), root):
        print(visible(line))
    return int(failed)


def _summary(named: dict[tuple[Outcome, str], list[PublishedFile]], n_files: int, root: Path) -> list[str]:
    counts: dict[str, int] = {}
    licences: dict[str, list[str]] = {}
    lines = []
    for (outcome, why), files in named.items():
        counts[outcome] = counts.get(outcome, 0) + len(files)
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        if why:
            lines.append(f"{outcome}: {files[0].file}{more}: {why}")
        for file in files if outcome in ("there", "fetched") else ():
            licences.setdefault(file.licence, []).append(file.file.partition("/")[0])
    lines.append(f"{', '.join(f'{outcome} {n}' for outcome, n in counts.items())}, of {n_files} files, in {root}")
    terms = "; ".join(f"{licence}: {', '.join(dict.fromkeys(sets))}" for licence, sets in licences.items())
    evaluation = f"python -m cada_trl.evaluate model=smollm2 suite=quick data_root={root}"
    again = "the same command, for what failed"
    return [*lines, f"licences: {terms or 'none'}", f"next: {again if 'failed' in counts else evaluation}"]


@dataclass
class _Folder:
    """sources: file -> where it is from. closed: hosts and pages that one answer was enough of."""

    root: Path
    sources: dict[str, Any]
    closed: dict[str, _NotHad] = field(default_factory=dict)

    def bring(self, file: PublishedFile) -> tuple[Outcome, str]:
        """The file in its place, or why it is not. Errors: UserError for a folder that cannot be written."""
        path = self.root / file.file
        try:
            if path.exists():
                return "there", self._checked(file, path)
            content = self._made(file)
        except _NotHad as reason:
            return reason.outcome, str(reason)
        replace(path, content, GOES_ON)
        facts = {"source": file.source, "licence": file.licence, "sha256": sha256(content), "bytes": len(content)}
        self.sources[file.file] = facts | {"download": list(file.urls)}
        replace_json(self.root / SOURCES, self.sources, GOES_ON)
        self._let_go(file)
        known = file.sha256 or file.url_sha256
        return "fetched", "" if known else f"no SHA-256 of it is known; this one's is kept in {SOURCES}"

    def _checked(self, file: PublishedFile, path: Path) -> str:
        known = file.sha256 or self.sources.get(file.file, {}).get("sha256")
        if known is None:
            return "not checked, no SHA-256 of it is known"
        if (seen := file_sha256(path)) != known:
            raise _NotHad(f"there with sha256 {seen}, expected {known}; move it away, and the same command fetches it")
        return ""

    def _made(self, file: PublishedFile) -> bytes:
        if not file.urls:
            raise _NotHad(f"put it there yourself, from {file.source}", "no address")
        parts = [self._downloaded(file, url) for url in file.urls]
        try:
            content = made(file, parts)
            if file.sha256 not in (None, seen := sha256(content)):
                raise ValueError(f"sha256 {seen}, expected {file.sha256}")
        except ValueError as error:
            self._let_go(file)
            raise _NotHad(f"not the published file at {file.urls[0]} ({error}); nothing of it is kept") from error
        return content

    def _downloaded(self, file: PublishedFile, url: str) -> bytes:
        host, part = urlsplit(url).netloc, self._part(url)
        for key in (host, file.source):
            if key in self.closed:
                raise self.closed[key]
        try:
            with writing(part, GOES_ON):
                _retrieve(file, url, part)
        except _NotHad as reason:
            if reason.closes is not None:
                self.closed[reason.closes] = reason
            raise
        return part.read_bytes()

    def _part(self, url: str) -> Path:
        return self.root / DOWNLOADS / sha256(url)[:16]

    def _let_go(self, file: PublishedFile) -> None:
        for url in file.urls:
            self._part(url).unlink(missing_ok=True)


def _retrieve(file: PublishedFile, url: str, part: Path) -> None:
    """Pooch moves a whole file into its place, and leaves one that is there."""
    token = get_token() if url.startswith(HUB) else None
    downloader = HTTPDownloader(
        progressbar=tqdm(desc=file.file, total=1, unit="B", unit_scale=True, leave=False, disable=None),
        chunk_size=CHUNK_BYTES,
        timeout=TIMEOUT_S,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    address = url.replace(HUB, constants.ENDPOINT, 1)
    try:
        retrieve(address, file.url_sha256, part.name, part.parent, downloader=downloader)
    except HTTPError as error:
        status = getattr(error.response, "status_code", None)
        if file.gated and status in (401, 403):
            how = f"ask for access at {file.source} and log in with that account (`hf auth login`)"
            raise _NotHad(f"gated: {how}; the same command fetches it", "no access", file.source) from error
        raise _NotHad(f"HTTP {status} from {address}; its page is {file.source}") from error
    except RequestException as error:
        unreached = isinstance(error, NoConnection | Timeout)
        host = urlsplit(url).netloc
        why = f"no answer from {host}" if unreached else f"the answer of {host} broke off"
        raise _NotHad(f"{why} ({type(error).__name__}); try again", closes=host if unreached else None) from error
    except ValueError as error:  # pooch: another hash
        raise _NotHad(f"not the published file at {address} (another SHA-256); nothing of it is kept") from error


if __name__ == "__main__":
    run_verb(main)
