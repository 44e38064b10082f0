"""What the hub's client needs to upload a folder, over real HTTP: repositories in memory, each with its files; and the
hub's refusals."""

import base64
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

# A model's name or its revision -> the status, and the error's name, which stands in a header
REFUSALS = {
    "gated": (403, "GatedRepo"),
    "absent": (401, "RepoNotFound"),
    "no-config": (404, "EntryNotFound"),
    "lost": (404, "RevisionNotFound"),
}


@dataclass
class Repository:
    """kind: model or dataset."""

    kind: str
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)


class HubStandIn(ThreadingHTTPServer):
    """token: the one whose owner may write."""

    token = "hf_stand_in"

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = {}
        self.large = {}
        self.address = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running():
    hub = HubStandIn()
    Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HubStandIn

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        model, revision = self.path.split("/")[2:5:2]
        status, error = REFUSALS.get(revision) or REFUSALS[model]
        self.send_response(status)
        self.send_header("X-Error-Code", error)
        self.send_header("X-Error-Message", error)
        self.end_headers()

    def do_PUT(self):
        self.server.large[self.path.rsplit("/", 1)[-1]] = self._body()
        self._answer({})

    def do_POST(self):
        hub, body = self.server, self._body()
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if self.headers.get("authorization") != f"Bearer {hub.token}":
            return self._answer({"error": "Invalid username or password."}, 401)
        if self.path == "/api/repos/create":
            return self._answer(self._created(json.loads(body)))
        name = next(name for name in hub.repositories if f"/{name}" in self.path)
        repository = hub.repositories[name]
        if "/preupload/" in self.path:
            return self._answer({"files": [_upload_mode(file["path"]) for file in json.loads(body)["files"]]})
        if self.path.endswith("/info/lfs/objects/batch"):
            return self._answer({"transfer": "basic", "objects": [*map(self._place, json.loads(body)["objects"])]})
        for line in map(json.loads, body.splitlines()):  # a commit
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = hub.large[value["oid"]]
        return self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": f"{self._url(name)}/commit/1"})

    def _created(self, asked):
        name = f"{asked['organization']}/{asked['name']}"
        self.server.repositories.setdefault(
            name, Repository(asked.get("type") or "model", asked["visibility"] == "private")
        )
        return {"url": self._url(name)}

    def _url(self, name):
        folder = "datasets/" if self.server.repositories[name].kind == "dataset" else ""
        return f"{self.server.address}/{folder}{name}"

    def _place(self, large):
        return {**large, "actions": {"upload": {"href": f"{self.server.address}/put/{large['oid']}"}}}

    def _body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _answer(self, values, code=200):
        text = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _upload_mode(path):
    return {"path": path, "shouldIgnore": False, "uploadMode": "lfs" if "safetensors" in path else "regular"}
