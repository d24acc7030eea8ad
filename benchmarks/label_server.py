"""How fast the labelling page is with many items: python benchmarks/label_server.py [--items 100000] [--judgements 300]

One annotator over one connection, as a browser would: the page with its files and the first item, then a judgement and the
next item again and again. Prints milliseconds by the clock and of the server's processor time (Linux).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from tuningfork.data.judgements import Candidate
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import NewItem, add_items
from tuningfork.feedback.project import ProjectSettings, write_project

ANSWER = "An answer of some length, as answers are. " * 10


def make_items(count: int) -> Iterator[NewItem]:
    """Pairs of answers of 420 characters."""
    for n in range(count):
        yield NewItem(f"i{n}", f"r{n}", "q " * 30, [Candidate(text=f"{n} {ANSWER}"), Candidate(text=f"{ANSWER} {n}")])


class Visitor:
    """A browser's requests on one connection."""

    def __init__(self, link: str) -> None:
        host, port, token = re.fullmatch(r"http://(.+):(\d+)(/.+)", link).groups()  # type: ignore[union-attr]
        self.origin, self.connection, self.cookie = (
            f"http://{host}:{port}",
            http.client.HTTPConnection(host, int(port)),
            "",
        )
        self.cookie = self._ask("GET", token)[0].getheader("set-cookie", "").split(";")[0]

    def ask(self, method: str, path: str, body: Any = None) -> bytes:
        """What the server answers."""
        return self._ask(method, path, body)[1]

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {"cookie": self.cookie, "origin": self.origin, "content-type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self.connection.getresponse()
        return response, response.read()


def processor_seconds(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Fill a database, serve it, visit it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--judgements", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        database, settings = Database.open(path), ProjectSettings()
        write_project(database, settings)
        add_items(database, make_items(arguments.items), settings)
        database.close()
        command = [sys.executable, "-m", "tuningfork.cli", "label", "--db", str(path), "--port", "0", "--no-browser"]
        server = subprocess.Popen(
            [*command, "--annotators", "anna", "--rate", "100000"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            link = next(
                found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)) and "anna" in line
            )
            visit(link, server.pid, arguments.judgements)
        finally:
            server.terminate()
            server.wait()


def visit(link: str, pid: int, judgements: int) -> None:
    """Time the page, and every judgement with the item after it."""
    start, spent = time.perf_counter(), processor_seconds(pid)
    visitor = Visitor(link)
    for entry in (files("tuningfork.feedback") / "page").iterdir():
        visitor.ask("GET", "/" if entry.name == "index.html" else f"/page/{entry.name}")
    visitor.ask("GET", "/api/me")
    item = json.loads(visitor.ask("GET", "/api/next"))["item"]
    cost = processor_seconds(pid) - spent
    print(
        f"page with its files and the first item: {1000 * (time.perf_counter() - start):.0f} ms, processor {1000 * cost:.0f}"
    )
    times, spent = [], processor_seconds(pid)
    for _ in range(judgements):
        start = time.perf_counter()
        body = {"id": uuid.uuid4().hex, "assignment": item["assignment"], "ranking": [[0], [1]], "seconds": 3.0}
        item = json.loads(visitor.ask("POST", "/api/judge", body))["item"]
        times.append(1000 * (time.perf_counter() - start))
    cost = 1000 * (processor_seconds(pid) - spent) / judgements
    worst = statistics.quantiles(times, n=20)[-1]
    print(
        f"judge and next item: median {statistics.median(times):.0f} ms, 95 % {worst:.0f}, most {max(times):.0f}, processor {cost:.0f}"
    )
    print(f"torch in the server: {'torch' in Path(f'/proc/{pid}/maps').read_text()}")


if __name__ == "__main__":
    main()
