"""data: what a server sends comes into its place whole and checked, or not at all, and each file's fate is said."""

import errno
import json
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub
import pytest

from cada_trl.data import fetch as verb
from cada_trl.data.fetch import DOWNLOADS, SOURCES, fetch
from cada_trl.data.published import HUB, PublishedFile
from cada_trl.errors import HelpAsked, UserError
from cada_trl.storage.digest import sha256
from cada_trl.storage.files import held

CSV = b"goal\nPick a lock\n" * 20000


class Server:
    """Sends what `files` holds by path; a number is a status, a text another address; `cut` paths break off in the
    middle."""

    def __init__(self):
        self.files = {}
        self.cut = set()
        self.asked = []
        self.tokens = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *words):
                pass

            def do_GET(self):
                outer.asked.append(self.path)
                outer.tokens.append(self.headers.get("Authorization"))
                body = outer.files.get(self.path, 404)
                if isinstance(body, str):
                    self.send_response(302)
                    self.send_header("Location", body)
                    body = b"elsewhere"
                else:
                    self.send_response(body if isinstance(body, int) else 200)
                body = b"" if isinstance(body, int) else body
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if self.path in outer.cut else body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server():
    running = Server()
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.fixture
def fetched(tmp_path, capsys):
    """(files) -> the exit code of a call that brings them below tmp_path, and what it says."""

    def call(*files):
        return fetch([*files], tmp_path), capsys.readouterr().out

    return call


def file_of(server, name, content=CSV, sends=None):
    """At the server as /name; content: the published one, None: its hash is not known; sends: what comes instead."""
    server.files[f"/{name}"] = CSV if content is None and sends is None else content if sends is None else sends
    digest = None if content is None else sha256(content)
    return PublishedFile(name, (f"{server.base}/{name}",), digest, "https://page", "MIT", url_sha256=digest)


def kept(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_file_comes_into_its_place_once_with_its_source_and_licence_beside_it(server, tmp_path, capsys):
    root, file = tmp_path / "new" / "sets", file_of(server, "a/x.csv")
    assert fetch([file], root) == 0
    assert (root / "a/x.csv").read_bytes() == CSV
    assert kept(root) == {"a/x.csv", SOURCES}
    sources = json.loads((root / SOURCES).read_text(encoding="utf-8"))["a/x.csv"]
    assert sources == {
        "source": "https://page",
        "licence": "MIT",
        "sha256": sha256(CSV),
        "bytes": len(CSV),
        "download": [f"{server.base}/a/x.csv"],
    }
    assert capsys.readouterr().out.splitlines() == [
        "[1/1] fetched     a/x.csv",
        f"fetched 1, of 1 files, in {root}",
        "licences: MIT: a",
        f"next: python -m cada_trl.evaluate model=smollm2 suite=quick data_root={root}",
    ]
    assert fetch([file], root) == 0 and server.asked == ["/a/x.csv"]
    assert "[1/1] there       a/x.csv" in capsys.readouterr().out


@pytest.mark.parametrize("hash_is_known", [True, False])
def test_a_file_that_was_edited_is_named_and_left_as_it_is(hash_is_known, server, fetched, tmp_path):
    file = file_of(server, "a/x.csv", CSV if hash_is_known else None)
    fetched(file)
    (tmp_path / "a/x.csv").write_bytes(b"mine")
    code, said = fetched(file)
    assert code == 1 and (tmp_path / "a/x.csv").read_bytes() == b"mine"
    assert f"there with sha256 {sha256(b'mine')}, expected {sha256(CSV)}; move it away" in said
    assert "next: the same command, for what failed" in said


def test_of_a_file_without_a_known_hash_the_first_download_is_what_later_calls_expect(server, fetched):
    file = file_of(server, "a/x.csv", None)
    code, said = fetched(file)
    assert code == 0 and "fetched: a/x.csv: no SHA-256 of it is known; this one's is kept in sources.json" in said
    assert fetched(file)[0] == 0


def test_a_file_of_ones_own_without_a_known_hash_is_there_and_said_to_be_unchecked(server, fetched, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.csv").write_bytes(b"mine")
    code, said = fetched(file_of(server, "a/x.csv", None))
    assert code == 0 and "there: a/x.csv: not checked, no SHA-256 of it is known" in said
    assert server.asked == []


def test_other_bytes_than_the_published_ones_are_not_kept(server, fetched, tmp_path):
    files = [file_of(server, "a/x.csv", CSV, b"<html>"), file_of(server, "a/y.csv")]
    code, said = fetched(*files)
    assert code == 1 and f"failed: a/x.csv: not the published file at {server.base}/a/x.csv (another SHA-256)" in said
    assert "a/x.csv" not in kept(tmp_path) and "a/y.csv" in kept(tmp_path)
    server.files["/a/x.csv"] = CSV
    assert fetched(*files)[0] == 0
    assert server.asked.count("/a/y.csv") == 1


def test_a_file_made_of_others_is_checked_as_it_is_made_and_nothing_wrong_is_kept(server, fetched, tmp_path):
    answers = [{"forbidden_prompt": "a", "jailbroken_prompt": "b", "jailbreak": "pair"}]
    expected = b'{"attack": "pair", "request": "a", "attack_prompt": "b"}\n'
    sent = file_of(server, "eval.json", None, json.dumps(answers).encode())
    file = replace(sent, file="frozen/x.jsonl", form="rubric_evaluations", sha256=sha256(b"another"))
    code, said = fetched(file)
    assert code == 1 and f"(sha256 {sha256(expected)}, expected {sha256(b'another')}); nothing of it is kept" in said
    assert kept(tmp_path) == {f"{DOWNLOADS}/lock"}
    assert fetched(replace(file, sha256=sha256(expected)))[0] == 0
    assert (tmp_path / "frozen/x.jsonl").read_bytes() == expected
    assert server.asked == ["/eval.json"] * 2


def test_what_breaks_off_is_fetched_by_the_next_call_and_whole_parts_are_kept(server, fetched, tmp_path):
    names = ("index", "behavior", "category", "prompt", "response", "jailbroken", "jailbroken_llama_guard1")
    fields = dict.fromkeys(names, 0)
    for name, goal in (("a", "first"), ("b", "second")):
        server.files[f"/PAIR/black_box/{name}.json"] = json.dumps({"jailbreaks": [fields | {"goal": goal}]}).encode()
    urls = tuple(f"{server.base}/PAIR/black_box/{name}.json" for name in "ab")
    file = PublishedFile("jbb/x.jsonl", urls, None, "https://page", "MIT", form="artifacts")
    server.cut.add("/PAIR/black_box/b.json")
    (tmp_path / DOWNLOADS).mkdir()
    (tmp_path / DOWNLOADS / "tmpkilled").write_bytes(b"half")
    code, said = fetched(file)
    assert code == 1 and "the answer of 127.0.0.1" in said
    assert "jbb/x.jsonl" not in kept(tmp_path)
    assert f"{DOWNLOADS}/tmpkilled" not in kept(tmp_path)
    server.cut.clear()
    assert fetched(file)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "jbb/x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["attack"], row["target_model"], row["goal"]) for row in rows] == [
        ("PAIR", "a", "first"),
        ("PAIR", "b", "second"),
    ]
    assert [path[-6] for path in server.asked] == ["a", "b", "b"]
    assert kept(tmp_path) == {"jbb/x.jsonl", SOURCES}


@pytest.mark.parametrize("status", [404, 403, 429, 500])
def test_a_status_is_named_with_the_address_and_the_others_go_on(status, server, fetched):
    code, said = fetched(file_of(server, "a/x.csv", CSV, status), file_of(server, "a/y.csv"))
    assert code == 1
    assert f"failed: a/x.csv: HTTP {status} from {server.base}/a/x.csv; its page is https://page" in said
    assert "[2/2] fetched     a/y.csv" in said


def test_a_gated_set_is_asked_once_and_needs_ones_own_access(server, fetched):
    files = [replace(file_of(server, f"g/{number}.csv", None, 401), gated=True) for number in range(3)]
    files = [replace(file, source="https://gated") for file in files]
    code, said = fetched(*files, file_of(server, "a/x.csv"))
    assert code == 0 and server.asked == ["/g/0.csv", "/a/x.csv"]
    assert (
        "no access: g/0.csv and 2 more: gated: ask for access at https://gated and log in with that account "
        "(`hf auth login`); the same command fetches it" in said
    )
    assert "no access 3, fetched 1, of 4 files" in said


def test_a_token_goes_to_the_hub_alone_and_not_to_where_the_hub_keeps_a_file(server, tmp_path, monkeypatch):
    """As the hub answers for large files: with the address of a store under another host's name."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.base)
    monkeypatch.setattr(verb, "get_token", lambda: "hf_secret")
    on_hub = replace(file_of(server, "g/1.csv"), urls=(f"{HUB}/g/1.csv",), gated=True)
    server.files["/store/7f"] = CSV
    server.files["/g/1.csv"] = f"{server.base.replace('127.0.0.1', 'localhost')}/store/7f"
    assert fetch([on_hub, file_of(server, "a/x.csv")], tmp_path) == 0
    assert (tmp_path / "g/1.csv").read_bytes() == CSV
    tokens = {"/g/1.csv": "Bearer hf_secret", "/store/7f": None, "/a/x.csv": None}
    assert dict(zip(server.asked, server.tokens, strict=True)) == tokens
    assert "hf_secret" not in (tmp_path / SOURCES).read_text(encoding="utf-8")


def test_a_host_without_an_answer_is_tried_once(fetched):
    stopped = Server()
    files = [file_of(stopped, f"a/{number}.csv") for number in range(3)]
    stopped.server.shutdown()
    stopped.server.server_close()
    code, said = fetched(*files)
    assert code == 1
    assert said.count("no answer from 127.0.0.1") == 1
    assert "failed: a/0.csv and 2 more: no answer from 127.0.0.1" in said


def test_a_file_without_an_address_is_the_users_to_put_there(fetched):
    code, said = fetched(PublishedFile("a/x.csv", (), sha256(CSV), "https://page", "MIT"))
    assert code == 0
    assert "no address: a/x.csv: put it there yourself, from https://page" in said
    assert "licences: none" in said


def test_a_full_disk_ends_the_call_in_one_line_and_the_next_one_goes_on(server, tmp_path, monkeypatch):
    files = [file_of(server, "a/x.csv"), file_of(server, "a/y.csv")]
    fetch(files[:1], tmp_path)

    def full(*words, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pooch.HTTPDownloader.__call__", full)
        with pytest.raises(UserError, match="No space left on device; free space, and the same command goes on"):
            fetch(files, tmp_path)
    assert fetch(files, tmp_path) == 0
    assert server.asked == ["/a/x.csv", "/a/y.csv"]


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "sets").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot write .*sets/\.downloads: Not a directory"):
        fetch([], tmp_path / "sets")


def test_two_calls_do_not_fetch_into_one_folder(tmp_path):
    with (
        held(tmp_path / DOWNLOADS / "lock", None),
        pytest.raises(UserError, match=r"another call fetches into .*; wait for it"),
    ):
        fetch([], tmp_path)


@pytest.mark.parametrize("words", [[], ["data_root="], ["data_root=a", "b"], ["/a/b"], ["data_rot=a"]])
def test_words_other_than_a_folder_are_one_line(words):
    with pytest.raises(UserError, match="expected data_root=<folder>"):
        verb.main(words)


def test_the_verb_fetches_what_is_published(tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "published_files", lambda: [PublishedFile("a/x.csv", (), None, "https://page", "MIT")])
    assert verb.main([f"data_root={tmp_path}"]) == 0
    with pytest.raises(HelpAsked):
        verb.main(["--help"])
