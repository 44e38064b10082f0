"""A server in this process that speaks the OpenAI protocol, well and badly; a model that needs none, and a judge."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cada_trl.config import JudgeConfig
from cada_trl.judging.endpoint import Answer, Usage
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict

KEY = "sk-secret-0123456789"
CHECK = "Say hello."


def answer(text, usage=None):
    """An HTTP status and the body of a chat completion that says text. usage: tokens of prompt and completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "text": text, "finish_reason": "stop"}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice]}
    if usage:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        body["usage"] = dict(zip(names, (*usage, sum(usage)), strict=True))
    return 200, body


def judge_settings(**changes):
    """The phrase judge's, with the patience of a test, and the changes."""
    own = {"kind": "phrases", "judge_sees": "final_response", "timeout_s": 5.0, "max_retries": 2, "max_calls": 100}
    return JudgeConfig.model_validate(dict.fromkeys(("base_url", "llm", "api_key_env")) | own | changes)


class Scripted:
    """A model that gives the answers in order, the last question's first, and keeps what it was asked."""

    llm = "scripted"

    def __init__(self, *answers):
        self.usage = Usage()
        self.asked = []
        self._answers = answers

    def check_reachable(self, prompt, max_tok): ...

    def answers(self, prompts, max_tok):
        self.asked += prompts
        for i in reversed(range(len(prompts))):
            yield i, Answer(self._answers[i], "" if self._answers[i] else "out of positions")


REFUSED = Judged(Verdict.REFUSED, "", "", harmful=False, harmful_score=0.0)


class ScriptedJudge:
    """Says what its table has of a response, and `other` of every other one. pairs: what it was asked."""

    def __init__(self, table=None, judge_id="judge-1", other=REFUSED):
        self.id, self.table, self.other = judge_id, table or {}, other
        self.pairs = []

    def judge(self, pairs):
        self.pairs += pairs
        return [self.table.get(response, self.other) for _, response in pairs]


class Stub:
    """Answers the n-th question with script(n), or by what it asks, and the reachability check with check."""

    def __init__(self):
        self.check = answer("COMPLIED")
        self.script = lambda n: answer("REFUSED")
        self.by_body = None
        self.bodies = []
        self.paths = []
        self.keys = set()
        self.headers = {"retry-after-ms": "1"}
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                stub._handle(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def _handle(self, http):
        body = json.loads(http.rfile.read(int(http.headers["Content-Length"])))
        self.keys.add(http.headers["Authorization"])
        status, reply = self.check
        if CHECK not in json.dumps(body):
            self.bodies.append(body)
            self.paths.append(http.path)
            status, reply = self.by_body(body) if self.by_body else self.script(len(self.bodies))
        data = reply if isinstance(reply, bytes) else (reply if isinstance(reply, str) else json.dumps(reply)).encode()
        http.send_response(status)
        http.send_header("Content-Type", "text/html" if isinstance(reply, str) else "application/json")
        for name, value in self.headers.items():
            http.send_header(name, value)
        http.send_header("Content-Length", str(len(data)))
        http.end_headers()
        http.wfile.write(data)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
