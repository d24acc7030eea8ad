"""An OpenAI-compatible endpoint on this machine whose replies a test decides."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Say = Callable[[Body], "str | tuple[int, str] | Body | Raw"]


@dataclass(frozen=True)
class Raw:
    """What is written as it is, up to the byte `cut`, where the connection is closed; `times` over, or a byte each `drip` s."""

    content: str
    cut: int | None = None
    times: int = 1
    drip: float = 0.0


@dataclass
class Server:
    """Its address, the bodies and headers it was sent, and how many requests were under way at once at most."""

    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.bodies]


def completion(text: str, finish: str = "stop", usage: Any = (10, 5)) -> Body:
    found: Body = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    if usage:
        found["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return found


class _Patient(ThreadingHTTPServer):
    """Says nothing of clients that left before their reply was there."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(say: Say) -> Iterator[Server]:
    """`say` gives for each body the text of the reply, a whole answer, or a status and a text."""
    server, lock, at_once = Server(), threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                at_once[0] += 1
                server.most_at_once = max(server.most_at_once, at_once[0])
                server.bodies.append(body)
                server.headers.append(dict(self.headers))
            found = say(body)
            if isinstance(found, Raw):
                with lock:
                    at_once[0] -= 1
                self._write_raw(found)
                return
            status, content = found if isinstance(found, tuple) else (200, found)
            if isinstance(content, str) and status == 200:
                content = completion(content)
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            with lock:
                at_once[0] -= 1
            self.send_response(status)
            if status == 302:
                self.send_header("Location", content if isinstance(content, str) else "")
            if status == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _write_raw(self, found: Raw) -> None:
            data = found.content.encode()
            self.close_connection = True
            if found.cut != 0:
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                for number in range(len(data) if found.drip else found.times):
                    self.wfile.write(data[number : number + 1] if found.drip else data[: found.cut])
                    time.sleep(found.drip)

        def log_message(self, format: str, *args: Any) -> None:
            return None

    found = _Patient(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    server.url = f"http://127.0.0.1:{found.server_port}/v1"
    try:
        yield server
    finally:
        found.shutdown()
        found.server_close()
