"""A W&B on this machine: answers wandb's client over HTTP and keeps the views and the runs that it is sent."""

import gzip
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT = "my-team", "cada_trl"


@dataclass
class SentRun:
    """What was sent of a run: how it is described, its history by line number, its summary, its files by name."""

    about: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    ended: bool = False

    @property
    def history(self):
        return [self.lines[number] for number in sorted(self.lines)]


class WandbStandIn:
    """Knows one entity with one project; everything else it refuses as W&B does, with a GraphQL error."""

    def __init__(self, url):
        self.url = url
        self.saved = []
        self.runs = {}

    def answer(self, query, variables):
        entity = variables.get("entityName", variables.get("entity"))
        asked = (entity or ENTITY, variables.get("projectName", PROJECT))  # without one W&B takes the key's own
        if asked[0] != ENTITY:
            return {"errors": [{"message": f"entity {asked[0]} not found"}]}
        if "upsertView" in query:
            self.saved.append(variables)
            project = {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]}
            view = variables | {"id": "view1", "project": project, "updatedAt": None}
            return {"data": {"upsertView": {"view": view, "inserted": True}}}
        if "internalId" in query:
            return {"data": {"project": {"id": "1", "internalId": "1"} if asked[1] == PROJECT else None}}
        if "models" in query:
            return {"data": {"models": _one_project()}}
        if of_run := self._answer_of_run(query, variables):
            return {"data": of_run}
        viewer = {"id": "1", "entity": ENTITY, "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        return {"data": {"viewer": viewer}}

    def _answer_of_run(self, query, variables):
        """Of the queries by which a run is sent; empty for every other."""
        if "serverInfo" in query:
            return {"serverInfo": {"features": []}}
        if "RunResumeStatus" in query:
            return {"model": {"bucket": self._resumed(variables["name"])}}
        if "upsertBucket" in query:
            run = self.runs.setdefault(variables["name"], SentRun())
            run.about |= {name: value for name, value in variables.items() if value is not None}
            project = {"id": "1", "name": PROJECT, "entity": {"id": "1", "name": ENTITY}}
            names = {"id": variables["name"], "name": variables["name"], "displayName": variables["displayName"]}
            bucket = {**names, "config": "{}", "project": project, "historyLineCount": len(run.lines)}
            return {"upsertBucket": {"bucket": bucket, "inserted": not run.lines}}
        if "createRunFiles" in query:
            place = f"{self.url}/storage/{variables['run']}"
            files = [{"name": name, "uploadUrl": f"{place}/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        if "createArtifact(" in query:  # as one that W&B has already, for which nothing is uploaded
            artifact = {"id": "1", "state": "COMMITTED", "artifactSequence": {"id": "1", "latestArtifact": None}}
            return {"createArtifact": {"artifact": artifact}}
        return {}

    def _resumed(self, name):
        run = self.runs.get(name)
        if run is None:
            return None
        counts = {"historyLineCount": len(run.lines), "logLineCount": 0, "eventsLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(line) for line in run.history[-1:]]), "eventsTail": "[]"}
        about = {"name": name, "displayName": run.about["displayName"], "id": name, "tags": [], "config": "{}"}
        return {**counts, **tails, **about, "summaryMetrics": json.dumps(run.summary), "wandbConfig": "{}"}

    def stream(self, name, sent):
        """The file stream of a run: lines of its history from an offset on, its summary whole, its end."""
        run = self.runs[name]
        run.ended |= "exitcode" in sent
        for file, part in sent.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"] if file != "output.log"]
            if file == "wandb-history.jsonl":
                run.lines |= dict(enumerate(lines, part["offset"]))
            elif file == "wandb-summary.json":
                run.summary = lines[-1]


@contextmanager
def wandb_stand_in():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body, answer = self._body(), {}
            if self.path == "/graphql":
                asked = json.loads(body)
                answer = stand_in.answer(asked["query"], asked.get("variables") or {})
            elif self.path.endswith("/file_stream"):  # /files/<entity>/<project>/<run>/file_stream
                stand_in.stream(self.path.split("/")[-2], json.loads(body))
            self._reply(json.dumps(answer).encode())

        def do_PUT(self):
            _, _, run, name = self.path.split("/", 3)  # /storage/<run>/<name>
            stand_in.runs[run].files[name] = self._body()
            self._reply(b"")

        def _body(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            return gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body

        def _reply(self, answer):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format, *args):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = WandbStandIn(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


def environment(server, key="0" * 40):
    """Of a process that takes the stand-in for W&B."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return env | {"WANDB_BASE_URL": server.url} | ({"WANDB_API_KEY": key} if key else {"NETRC": os.devnull})


def wandb_sync(run):
    """What a stand-in was sent of a run folder by the command that the end of the run names, and what wandb said."""
    parts = [str(path.resolve()) for path in (run / "wandb").glob("offline-run-*")]
    with wandb_stand_in() as server:
        command = [sys.executable, "-m", "wandb", "sync", *parts]
        env = environment(server)
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=run, check=True)  # it logs into ./
    (sent,) = server.runs.values()
    return sent, done.stderr


def _one_project():
    node = {"id": "1", "name": PROJECT, "entityName": ENTITY, "createdAt": "2026-01-01", "isBenchmark": False}
    node |= {"__typename": "Project", "user": None}
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"edges": [{"node": node, "cursor": "1"}], "pageInfo": page}
