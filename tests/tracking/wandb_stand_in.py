"""A W&B on this machine: answers the GraphQL of wandb's client and keeps the views that it is asked to save."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY, PROJECT = "my-team", "cada_trl"


class WandbStandIn:
    """Knows one entity with one project; everything else it refuses as W&B does, with a GraphQL error."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.saved: list[dict[str, Any]] = []

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        asked = (variables.get("entityName", variables.get("entity", ENTITY)), variables.get("projectName", PROJECT))
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
        viewer = {"id": "1", "entity": ENTITY, "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}
        return {"data": {"viewer": viewer}}


@contextmanager
def wandb_stand_in() -> Iterator[WandbStandIn]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked: dict[str, Any] = json.loads(body) if self.path == "/graphql" else {"query": ""}
            answer = json.dumps(stand_in.answer(asked["query"], asked.get("variables", {}))).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in = WandbStandIn(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()


def _one_project() -> dict[str, Any]:
    node = {"id": "1", "name": PROJECT, "entityName": ENTITY, "createdAt": "2026-01-01", "isBenchmark": False}
    node |= {"__typename": "Project", "user": None}
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    return {"edges": [{"node": node, "cursor": "1"}], "pageInfo": page}
