"""`tuningfork label`: open the database, fill it from a source, print the links, serve until Ctrl-C."""

from __future__ import annotations

import getpass
import ipaddress
import socket
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from tuningfork.errors import RunError
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import add_items, count
from tuningfork.feedback.links import make_links
from tuningfork.feedback.project import ProjectSettings, write_project
from tuningfork.feedback.security import Limits, own_hosts
from tuningfork.feedback.server import build_app, server_config
from tuningfork.feedback.service import Service
from tuningfork.feedback.sources import items_of, open_source

Say = Callable[[str], None]


@dataclass(frozen=True)
class Where:
    """Where and to whom the page is served."""

    database: str = "labels.db"
    """a file, or postgresql://..."""
    host: str = "127.0.0.1"
    """address to listen on; another than this machine's own is reachable by others"""
    port: int = 0
    """0 takes a free one"""
    public_url: str | None = None
    """address behind a proxy, e.g. https://label.example.org"""
    annotators: tuple[str, ...] = ()
    lead: str = ""
    """name of the lead; empty is the user's"""
    requests: float = 20.0
    """requests a second that one annotator may send"""
    new_links: bool = False
    """whether earlier links stop working"""
    browser: bool = True
    """whether a browser is opened"""

    @property
    def links_file(self) -> Path:
        """Where the links are kept: beside the database, or here where that is no file."""
        return Path("label.links") if "://" in self.database else Path(f"{self.database}.links")


def label(
    source: str | None, settings: ProjectSettings, where: Where, *, gold: Sequence[str] = (), say: Say = print
) -> None:
    """Serve the labelling page until Ctrl-C. RunError where the port is taken or the database cannot be opened."""
    database = Database.open(where.database)
    write_project(database, settings)
    if source is not None:
        added = add_items(database, items_of(open_source(source), seed=settings.seed), settings)
        say(f"{source}: {added:,} new items")
    for file in gold:
        added = add_items(database, items_of(open_source(file), seed=settings.seed, is_gold=True), settings)
        say(f"{file}: {added:,} new items with known answers")
    counts = count(database)
    if not counts.wanted:
        raise RunError("there is nothing to label; name a file, e.g. `tuningfork label pairs.jsonl`")
    say(f"{where.database}: {counts.judged:,} of {counts.wanted:,} judgements")
    serve(Service(database, settings), where, say)
    database.close()


def serve(service: Service, where: Where, say: Say) -> None:
    """Print the links and serve until Ctrl-C or SIGTERM."""
    listener = listen(where.host, where.port)
    host, port = listener.getsockname()[:2]
    base = where.public_url or f"http://{_shown_host(where.host)}:{port}"
    lead = where.lead or _user()
    tokens = make_links(service.database, where.links_file, lead, where.annotators, renew=where.new_links)
    links = {name: f"{base}/?{urlencode({'token': token})}" for name, token in tokens.items()}
    say("")
    for name, link in links.items():
        say(f"{name}{' (lead)' if name == lead else ''}: {link}")
    say("\nA link is a key: whoever has it labels under that name. Ctrl-C ends; everything given is kept.")
    if not _is_local(where.host):
        say("This machine's network can reach the page, unencrypted; see docs/labelling.md for a proxy with TLS.")
    if where.browser:
        webbrowser.open(links[lead])
    app = build_app(
        service,
        limits=Limits(requests=where.requests),
        hosts=own_hosts(where.host),
        public_url=where.public_url,
    )
    uvicorn.Server(server_config(app, host, port)).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; RunError where the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RunError(f"cannot listen on {host} port {port}: {error.strerror}; choose another --port") from error
    return listener


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "lead"


def _is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown_host(host: str) -> str:
    """The host for a link: a wildcard is shown as this machine's name."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
