"""The commands `label`, `label-export` and `label-backup`. Thin: they read arguments and call `feedback`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]", help="a preference, ranking or judgement file; none goes on with what the database holds"
    ),
]
Db = Annotated[str, typer.Option("--db", metavar="FILE|URL", help="a file, or postgresql://USER@HOST/NAME")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(label)


def label(
    source: Source = None,
    db: Db = "labels.db",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 0,
    host: Annotated[
        str, typer.Option(help="address to listen on; another than 127.0.0.1 lets the network in")
    ] = "127.0.0.1",
    public_url: Annotated[
        str | None, typer.Option(help="address behind a proxy, e.g. https://label.example.org")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="open no browser")] = False,
    annotators: Annotated[str, typer.Option(metavar="A,B,...", help="a link for each of these too")] = "",
    new_links: Annotated[bool, typer.Option("--new-links", help="earlier links stop working")] = False,
    title: Annotated[str | None, typer.Option(help="the question at the top of the page")] = None,
    criteria: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:1-5][=MEANING]", help="rate each answer on this too; may be repeated"),
    ] = None,
    guidelines: Annotated[
        Path | None, typer.Option(help="a text or Markdown file: how to choose, with examples")
    ] = None,
    raters: Annotated[int | None, typer.Option(min=1, help="judgements of each item, by different annotators")] = None,
    overlap: Annotated[
        float | None, typer.Option(min=0, max=1, help="share of the items asked of two annotators")
    ] = None,
    repeats: Annotated[
        float | None, typer.Option(min=0, max=0.49, help="share of hidden repeats of an annotator's items")
    ] = None,
    gold: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="items with known answers, mixed in; may be repeated")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="requests a second that one annotator may send")] = 20.0,
) -> None:
    """A page where people compare answers: in the browser, on the phone, by keyboard. The same command goes on later."""
    from tuningfork.errors import DataError
    from tuningfork.feedback.database import Database
    from tuningfork.feedback.project import parse_criteria, read_project
    from tuningfork.feedback.serving import Where
    from tuningfork.feedback.serving import label as serve

    if guidelines is not None and not guidelines.is_file():
        raise DataError(f"--guidelines: there is no file {guidelines}")
    stored = read_project(Database.open(db))
    given = {
        "title": title,
        "criteria": parse_criteria(criteria) if criteria else None,
        "guidelines": guidelines.read_text(encoding="utf-8") if guidelines else None,
        "raters": raters,
        "overlap_share": overlap,
        "repeat_share": repeats,
    }
    settings = stored.model_copy(update={name: value for name, value in given.items() if value is not None})
    names = tuple(name.strip() for name in annotators.split(",") if name.strip())
    where = Where(
        database=db,
        host=host,
        port=port,
        public_url=public_url,
        annotators=names,
        requests=rate,
        new_links=new_links,
        browser=not no_browser,
    )
    serve(source, settings, where, gold=gold or (), say=typer.echo)
