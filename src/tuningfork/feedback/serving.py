"""`tuningfork label`: open the database, fill it from a source, print the links, serve until Ctrl-C."""

from __future__ import annotations

import getpass
import ipaddress
import socket
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from tuningfork.data.adapters import RANKING_SHAPES
from tuningfork.errors import RunError
from tuningfork.feedback.database import Database
from tuningfork.feedback.items import add_items, close_rounds_before, count
from tuningfork.feedback.links import make_links
from tuningfork.feedback.policy import Drawing, Filler, is_run, next_policy, open_policy, prompts_of
from tuningfork.feedback.project import ProjectSettings, write_project
from tuningfork.feedback.rounds import Rounds
from tuningfork.feedback.sampler import Sampler
from tuningfork.feedback.security import Limits, own_hosts
from tuningfork.feedback.server import build_app, server_config
from tuningfork.feedback.service import Service
from tuningfork.feedback.sources import items_of, open_source
from tuningfork.serve.models import find_models

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


@dataclass(frozen=True)
class What:
    """What is labelled, beside what the database holds already."""

    source: str | None = None
    """a file of preferences, rankings, judgements or prompts; or a run, whose policy is sampled"""
    model: str | None = None
    """a run or a model's folder that answers prompts; of a run as source it is the run"""
    prompts: str | None = None
    """prompts for a run's policy; empty takes those it trained on"""
    drawing: Drawing = field(default_factory=Drawing)
    """how answers are drawn"""
    gold: tuple[str, ...] = ()
    """files of items with known answers"""
    recipe: str | None = None
    """what "Train now" runs, with `model` and `data` filled in"""


def label(what: What, settings: ProjectSettings, where: Where, say: Say = print) -> None:
    """Serve the labelling page until Ctrl-C. TuningforkError where there is nothing to label, or it cannot be served."""
    database = Database.open(where.database)
    write_project(database, settings)
    model = what.source if what.source and is_run(what.source) else what.model
    sampler = open_policy(model, what.drawing, settings.seed) if model else None
    service = Service(database, settings, sampler=sampler)
    filler = _fill(service, what, sampler, say)
    for file in what.gold:
        added = add_items(database, items_of(open_source(file), seed=settings.seed, is_gold=True), settings)
        say(f"{file}: {added:,} new items with known answers")
    counts = count(database)
    if not counts.wanted and sampler is None:
        raise RunError("there is nothing to label; name a file or a run, e.g. `tuningfork label pairs.jsonl`")
    say(f"{database.shown}: {counts.judged:,} of {counts.wanted:,} judgements")
    loop = Loop(service, what, filler) if model and what.recipe else None
    try:
        serve(service, where, say)
    finally:
        for part in (loop, sampler, filler):
            if part is not None:
                part.stop()
        database.close()


def _fill(service: Service, what: What, sampler: Sampler | None, say: Say) -> Filler | None:
    """Put what is to be labelled into the database, at once or as it is drawn."""
    settings, source = service.settings, what.source
    if source is None:
        return None
    if not is_run(source):
        data = open_source(source)
        if data.shape in RANKING_SHAPES:
            added = add_items(service.database, items_of(data, seed=settings.seed), settings)
            say(f"{source}: {added:,} new items")
            return None
    if sampler is None:
        raise RunError(f"{source} holds prompts; say with --model which run or model answers them")
    prompts = prompts_of(what.prompts or source, settings.seed)
    say(f"{what.prompts or source}: {len(prompts):,} prompts, answered by {sampler.models[0]} as they are needed")
    filler = Filler(service.database, settings, sampler, prompts)
    service.supply = filler
    filler.start()
    return filler


class Loop:
    """Labels, training, and labels of the new policy: what "Train now" starts, and what follows from it."""

    def __init__(self, service: Service, what: What, filler: Filler | None) -> None:
        assert service.sampler is not None and what.recipe is not None
        self.service, self.what, self.filler = service, what, filler
        folder = Path("runs") / "label-rounds"
        if service.database.is_sqlite:
            folder = Path(f"{service.database.shown}.rounds")
        self.rounds = Rounds(service.database, folder, what.recipe, service.sampler.models[0], self._learnt)
        service.trainer = self.rounds

    def stop(self) -> None:
        """End what is running."""
        self.rounds.stop()
        if self.service.sampler is not None:
            self.service.sampler.stop()
        if self.filler is not None:
            self.filler.stop()

    def _learnt(self, run: Path, number: int) -> str:
        """Go on with the model of a finished round; where prompts are drawn from, its answers are labelled next."""
        old = self.service.sampler
        assert old is not None
        model = find_models(run).after
        sampler = next_policy(old, self.what.drawing, model)
        self.service.sampler = sampler
        if self.filler is not None:
            self.filler.stop()
            close_rounds_before(self.service.database, number)
            self.filler = Filler(
                self.service.database, self.service.settings, sampler, self.filler.prompts, round_number=number
            )
            self.service.supply = self.filler
            self.filler.start()
        old.stop()
        return str(model)


def serve(service: Service, where: Where, say: Say) -> None:
    """Print the links and serve until Ctrl-C or SIGTERM."""
    listener = listen(where.host, where.port)
    host, port = listener.getsockname()[:2]
    base = where.public_url or f"http://{_shown_host(where.host)}:{port}"
    lead = where.lead or _user()
    tokens = make_links(service.database, where.links_file, lead, where.annotators, renew=where.new_links)
    links = {name: link_of(base, token) for name, token in tokens.items()}
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


def link_of(base: str, token: str) -> str:
    """The address that lets the holder of a token in."""
    return f"{base}/?{urlencode({'token': token})}"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; RunError where the port is taken or the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's waiting off only where the protocol is named; with it, answers wait 40 ms for an acknowledgement
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # who follows a link at once waits for the server instead of being turned away
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
