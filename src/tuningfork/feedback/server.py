"""The labelling server: the page, the HTTP interface, and the guard around both."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tuningfork.feedback import api, leads, quality_api, rounds, talking
from tuningfork.feedback.security import Guard, Limits, enter
from tuningfork.feedback.service import Service, service_of

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_COOKIE_SECONDS = 180 * 86_400


def build_app(
    service: Service,
    *,
    limits: Limits | None = None,
    hosts: set[str] | None = None,
    public_url: str | None = None,
) -> ASGIApp:
    """The application of a service. `hosts`: names by which it may be called; `public_url`: its address behind a proxy."""
    pages = {name: _page(name) for name in _page_names()}
    app = Starlette(
        routes=[
            Route("/", _index),
            Route("/page/{name}", _file),
            *api.ROUTES,
            *leads.ROUTES,
            *talking.ROUTES,
            *rounds.ROUTES,
            *quality_api.ROUTES,
        ]
    )
    app.state.service, app.state.pages = service, pages
    app.state.is_secure = bool(public_url and public_url.startswith("https:"))
    return Guard(app, limits or Limits(), hosts or {"localhost"}, public_url)


def server_config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """How the application is served: no log of requests (addresses may hold a token), short waits at the end."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        lifespan="off",
    )


async def _index(request: Request) -> Response:
    """The page; a visitor with a token gets a cookie for it and comes again without."""
    token = request.query_params.get("token")
    if token is None:
        return _answer(request, "index.html")
    client = request.headers.get("user-agent", "")
    session = await run_in_threadpool(enter, service_of(request).database, token, client)
    if session is None:
        return PlainTextResponse("This link is not valid (any more). Ask for a new one.", 403)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        service_of(request).cookie,
        session,
        max_age=_COOKIE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.app.state.is_secure,
    )
    return response


async def _file(request: Request) -> Response:
    return _answer(request, request.path_params["name"])


def _answer(request: Request, name: str) -> Response:
    page = request.app.state.pages.get(name)
    if page is None:
        return PlainTextResponse("not found", 404)
    content, kind, tag = page
    headers = {"etag": tag, "cache-control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)


def _page_names() -> list[str]:
    folder = files("tuningfork.feedback") / "page"
    return [entry.name for entry in folder.iterdir() if entry.name.rpartition(".")[2] in _TYPES]


def _page(name: str) -> tuple[bytes, str, str]:
    """Content, media type and tag of a file of the page."""
    content = (files("tuningfork.feedback") / "page" / name).read_bytes()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    return content, _TYPES[name.rpartition(".")[2]], tag
