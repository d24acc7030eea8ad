"""Who may do what over HTTP: links with a token, cookies, origin, size and rate of requests, and the headers of answers.

Tokens are 256 random bits. The database holds their SHA-256, looked up by value and compared in constant time; a link's token
appears in one request and is answered by a cookie with a token of its own and a redirect to an address without it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import select
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.feedback import schema
from tuningfork.feedback.assigning import record
from tuningfork.feedback.database import Database

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Limits:
    """What a client may send. Rates are requests a second, with bursts of ten seconds' worth."""

    body_bytes: int = 512 * 1024
    requests: float = 20.0
    entries: float = 3.0
    """requests with a link's token, from one address"""


@dataclass(frozen=True)
class Account:
    """Who a request is from."""

    name: str
    role: str

    @property
    def is_lead(self) -> bool:
        """Whether quality, export and training are open to this account."""
        return self.role == schema.LEAD


def new_token() -> str:
    """A secret for a link or a cookie."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def add_annotator(
    database: Database, name: str, token: str, *, role: str = schema.ANNOTATOR, kind: str = "person"
) -> None:
    """Let an annotator in by a new link; an earlier link and its sessions end where the token is another."""
    annotators, hashed = schema.annotators, hash_token(token)
    with database.write() as connection:
        known = connection.scalar(select(annotators.c.token_hash).where(annotators.c.name == name))
        if known is None:
            connection.execute(
                annotators.insert().values(
                    name=name, role=role, kind=kind, token_hash=hashed, created_at=database.now()
                )
            )
            return
        connection.execute(
            annotators.update().where(annotators.c.name == name).values(role=role, kind=kind, token_hash=hashed)
        )
        if not hmac.compare_digest(known, hashed):
            connection.execute(schema.sessions.delete().where(schema.sessions.c.annotator == name))


def enter(database: Database, token: str, client: str) -> str | None:
    """The cookie's token for a visitor with a link; None for a token that is not known."""
    annotators, hashed = schema.annotators, hash_token(token)
    with database.read() as connection:
        found = connection.execute(
            select(annotators.c.name, annotators.c.token_hash).where(annotators.c.token_hash == hashed)
        ).one_or_none()
    if found is None or not hmac.compare_digest(found.token_hash, hashed):
        return None
    session = new_token()
    with database.write() as connection:
        row = {"token_hash": hash_token(session), "annotator": found.name, "created_at": database.now()}
        connection.execute(schema.sessions.insert().values(**row, client=client[:300]))
        record(connection, "entered", database.now(), found.name, details={"client": client[:300]})
    return session


def account_of(database: Database, session: str) -> Account | None:
    """Whose cookie this is."""
    sessions, annotators, hashed = schema.sessions, schema.annotators, hash_token(session)
    row = (
        select(sessions.c.token_hash, annotators.c.name, annotators.c.role)
        .select_from(sessions.join(annotators))
        .where(sessions.c.token_hash == hashed)
    )
    with database.read() as connection:
        found = connection.execute(row).one_or_none()
    if found is None or not hmac.compare_digest(found.token_hash, hashed):
        return None
    return Account(found.name, found.role)


class Rate:
    """A bucket of requests for each client, filled at a steady rate."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._clock = per_second, clock
        self._full = max(1.0, 10 * per_second)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Whether one more request of the client is within the rate."""
        now = self._clock()
        left, since = self._buckets.pop(client, (self._full, now))
        left = min(self._full, left + (now - since) * self._per_second)
        is_allowed = left >= 1
        self._buckets[client] = (left - is_allowed, now)
        while len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return is_allowed


class Guard:
    """Wraps the application: refuses foreign hosts and origins, large bodies and floods; adds the headers to every answer."""

    def __init__(self, app: ASGIApp, limits: Limits, hosts: set[str], public_url: str | None) -> None:
        self.app, self.limits, self.hosts = app, limits, {host.lower() for host in hosts}
        self.public = urlsplit(public_url) if public_url else None
        self.rate, self.entries = Rate(limits.requests), Rate(limits.entries)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        sending = _with_headers(send)
        if refusal is not None:
            status, message = refusal
            await JSONResponse({"error": message}, status)(scope, receive, sending)
            return
        if scope["method"] not in ("GET", "HEAD"):
            body = await _body(receive, self.limits.body_bytes)
            if body is None:
                await JSONResponse({"error": "the request is too large"}, 413)(scope, receive, sending)
                return
            receive = _replayed(body, receive)
        await self.app(scope, receive, sending)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and message for a request that must not reach the application."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return 421, "this server is not known by that name; start it with --public-url"
        if scope["method"] not in ("GET", "HEAD"):
            if headers.get("origin") != self._origin(scope, host):
                return 403, "requests from other sites are refused"
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                return 415, "only JSON is read"
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > self.limits.body_bytes:
            return 413, "the request is too large"
        address = (scope.get("client") or ("", 0))[0]
        is_entry = scope["path"] == "/" and b"token=" in scope["query_string"]
        if is_entry and not self.entries.allows(address):
            return 429, "too many tries; wait a little"
        if scope["path"].startswith("/api/") and not self.rate.allows(headers.get("cookie", address)):
            return 429, "too many requests; wait a second"
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server: by a name it was given, or by a number, which no foreign name can point at."""
        name = _host_name(host)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts or (self.public is not None and name == self.public.hostname)
        return True

    def _origin(self, scope: Scope, host: str) -> str:
        if self.public is not None and _host_name(host) == self.public.hostname:
            return f"{self.public.scheme}://{self.public.netloc}"
        return f"{scope['scheme']}://{host}"


def _host_name(host: str) -> str:
    """The name in a Host header, without its port; empty for one that is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def own_hosts(host: str) -> set[str]:
    """Names by which a server listening on `host` may be called."""
    return {"localhost", host, socket.gethostname()}


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The whole body; None where it is longer than it may be, whatever its header said, or does not end."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limit or message["type"] == "http.disconnect":
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body was read already."""
    is_given = False

    async def replayed() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
