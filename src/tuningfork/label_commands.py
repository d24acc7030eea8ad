"""The commands `label` and `label-export`. Thin: they read arguments and call `feedback`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tuningfork.feedback.policy import Drawing
    from tuningfork.feedback.project import ProjectSettings

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[SOURCE]",
        help="a preference, ranking, judgement or prompts file, or a run whose policy is sampled; none goes on with the database",
    ),
]
Db = Annotated[str, typer.Option("--db", metavar="FILE|URL", help="a file, or postgresql://USER@HOST/NAME")]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(label)
    app.command("label-export")(export)
    app.command("label-simulate")(label_simulate)


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
    model: Annotated[
        str | None, typer.Option(help="a run or a model's folder that answers the prompts of SOURCE")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="prompts for a run; default those it trained on")
    ] = None,
    temperatures: Annotated[str, typer.Option(metavar="T,T,...", help="of the answers to a prompt, in turn")] = "1,1",
    checkpoints: Annotated[
        str, typer.Option(metavar="A,B,...", help="models of the answers, in turn: after, before, or folders")
    ] = "after",
    answers: Annotated[
        int | None, typer.Option(min=2, max=8, help="answers to each prompt; more than two are ranked")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="longest answer, in tokens")] = None,
    train: Annotated[
        str, typer.Option(metavar="RECIPE", help='what "Train now" runs on the labels of a run or model')
    ] = "label-round",
    rate: Annotated[float, typer.Option(min=1, help="requests a second that one annotator may send")] = 20.0,
) -> None:
    """A page where people compare answers: in the browser, on the phone, by keyboard. The same command goes on later."""
    from tuningfork.feedback.project import parse_criteria
    from tuningfork.feedback.serving import What, Where
    from tuningfork.feedback.serving import label as serve

    settings = _settings(
        db,
        title=title,
        criteria=parse_criteria(criteria) if criteria else None,
        guidelines=_guidelines(guidelines),
        raters=raters,
        overlap_share=overlap,
        repeat_share=repeats,
    )
    drawing = _drawing(checkpoints, temperatures, answers, max_new_tokens)
    what = What(source, model, prompts, drawing, tuple(gold or ()), train)
    where = Where(
        database=db,
        host=host,
        port=port,
        public_url=public_url,
        annotators=tuple(_split(annotators)),
        requests=rate,
        new_links=new_links,
        browser=not no_browser,
    )
    serve(what, settings, where, say=typer.echo)


def _settings(db: str, **given: Any) -> ProjectSettings:
    """The settings kept in the database, and over them what was given."""
    from tuningfork.feedback.database import Database
    from tuningfork.feedback.project import read_project

    database = Database.open(db)
    stored = read_project(database)
    database.close()
    return stored.model_copy(update={name: value for name, value in given.items() if value is not None})


def _guidelines(file: Path | None) -> str | None:
    """The text of the file; DataError where there is none."""
    from tuningfork.errors import DataError

    if file is not None and not file.is_file():
        raise DataError(f"--guidelines: there is no file {file}")
    return file.read_text(encoding="utf-8") if file else None


def _drawing(checkpoints: str, temperatures: str, answers: int | None, max_new_tokens: int | None) -> Drawing:
    """How answers to prompts are drawn: as many as there are models or temperatures in turn, and at least two."""
    from tuningfork.feedback.policy import Drawing

    places, warmths = tuple(_split(checkpoints)), _numbers(temperatures)
    most = answers or max(2, len(places), len(warmths))
    return Drawing(checkpoints=places, temperatures=warmths, answers=most, max_new_tokens=max_new_tokens)


def export(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="where judgements.jsonl and the others go")],
    db: Db = "labels.db",
    everything: Annotated[
        bool, typer.Option("--everything", help="repeats, known answers and excluded annotators too")
    ] = False,
    backup: Annotated[bool, typer.Option("--backup", help="a copy of the SQLite database too")] = False,
) -> None:
    """Write what was judged as data for `reward`, `preference` and `sft`, while others label."""
    from tuningfork.errors import DataError
    from tuningfork.feedback.database import Database
    from tuningfork.feedback.export import export as write

    if "://" not in db and not Path(db).is_file():
        raise DataError(f"there is no database {db}")
    database = Database.open(db)
    counts = write(database, out, everything=everything)["counts"]
    typer.echo(f"{out}: {counts.get('judgements', 0):,} judgements, {counts['demonstrations']:,} written answers")
    if backup:
        database.backup(out / "labels.db")
        typer.echo(f"{out / 'labels.db'}: the whole database")
    database.close()


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> tuple[float, ...]:
    from tuningfork.errors import RecipeError

    try:
        found = tuple(float(part) for part in _split(text))
    except ValueError as error:
        raise RecipeError(f"--temperatures {text!r}: write numbers, e.g. 0.7,1") from error
    if not found or min(found) <= 0:
        raise RecipeError(f"--temperatures {text!r}: write numbers above 0, e.g. 0.7,1")
    return found


def label_simulate(
    link: Annotated[str, typer.Argument(help="an annotator's link, as `label` prints it")],
    truth: Annotated[
        Path, typer.Option(help="artifact of the stage `world`: what the annotator knows, e.g. runs/snazzy/1-world")
    ],
    world: Annotated[str, typer.Option(help="the embedded world")] = "colours",
    most: Annotated[
        int | None, typer.Option(min=1, help="judgements to give; none goes on until nothing is left")
    ] = None,
    flips: Annotated[float, typer.Option(min=0, max=1, help="how often the worse answer is chosen by mistake")] = 0.1,
    guesses: Annotated[float, typer.Option(min=0, max=1, help="how often any key is pressed without reading")] = 0.0,
    left: Annotated[float, typer.Option(min=0, max=1, help="how often the left answer is taken without reading")] = 0.0,
    ties: Annotated[float, typer.Option(min=0, max=1, help="how often a tie is said out of convenience")] = 0.0,
    seed: int = 0,
) -> None:
    """A simulated annotator at the labelling page, for demonstrations: sees what the page shows, sends what it would send."""
    from tuningfork.feedback.simulated import Habits, HttpPage, SimulatedAnnotator
    from tuningfork.worlds import load_taste

    habits = Habits(flip_rate=flips, guess_rate=guesses, side_rate=left, tie_rate=ties)
    annotator = SimulatedAnnotator(HttpPage(link), load_taste(world, truth).values, habits, seed=seed)
    typer.echo(f"{annotator.work(most):,} judgements given")
