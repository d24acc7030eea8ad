"""The command line. Thin: every command reads its arguments and calls what Python users call."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tuningfork import __version__
from tuningfork.errors import Interrupted, TuningforkError
from tuningfork.kinds import stage_kinds, stage_summary
from tuningfork.label_commands import add_commands as add_label_commands

if TYPE_CHECKING:
    from tuningfork.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"max_content_width": 120},
    add_completion=False,
    rich_markup_mode=None,  # plain help: importing rich for it would double the start
    pretty_exceptions_enable=False,
)

data_app = typer.Typer(no_args_is_help=True, help="Look at data, check it, convert it.")
app.add_typer(data_app, name="data")

_NOT_COMMANDS = {"report", "chat", "label"}

RecipeName = Annotated[str, typer.Argument(metavar="NAME|FILE", help="a shipped recipe or a YAML file")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run's folder, or its name below runs/")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[key=value]...", help="settings, e.g. seed=1 rl.method.clip_range=0.1")
]
Out = Annotated[Path | None, typer.Option(help="the run's folder; default runs/<name>")]
StoreFolder = Annotated[
    Path | None, typer.Option("--store", help="where artifacts are kept and shared; default .store beside the run")
]
Trust = Annotated[bool, typer.Option("--trust", help="trust the code that the recipe names; needed once per content")]
ModelSource = Annotated[str | None, typer.Option("--model", help="a model's folder or hub id")]
DataFile = Annotated[str, typer.Argument(metavar="FILE", help="a file or folder, world:NAME/FILE or hf:NAME")]
Shape = Annotated[str | None, typer.Option(help="what the rows are, where that is not recognised")]
Column = Annotated[
    list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="which column holds a field; may be repeated")
]
Strict = Annotated[bool, typer.Option("--strict", help="stop at the first faulty row")]
SkipShare = Annotated[float, typer.Option(min=0, max=1, help="largest share of faulty rows that is left out")]
DataSource = Annotated[str | None, typer.Option("--data", help="a data file or folder")]


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="say it and leave")
    ] = False,
) -> None:
    """From nothing to a language model that does what people prefer, with proof, on the machine you have."""


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    store: StoreFolder = None,
    trust: Trust = False,
) -> None:
    """Run a recipe, or what is left of it: the same command resumes."""
    from tuningfork.recipe import load_recipe

    _run(load_recipe(recipe, overrides or []), out, store, trust)


@app.command()
def rerun(run: RunName, out: Out = None, store: StoreFolder = None, trust: Trust = False) -> None:
    """Run the resolved recipe of a run again, in its own folder or in another --out."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.recipe import load_recipe

    folder = open_run(run)
    _run(load_recipe(folder.recipe), out or folder.path, store, trust)


def _add_stage_command(kind: str) -> None:
    def command(
        model: ModelSource = None,
        data: DataSource = None,
        overrides: Overrides = None,
        out: Out = None,
        store: StoreFolder = None,
        trust: Trust = False,
    ) -> None:
        from tuningfork.single import one_stage_recipe

        _run(one_stage_recipe(kind, model=model, data=data, overrides=overrides or []), out, store, trust)

    app.command(kind, help=stage_summary(kind))(command)


for _kind in stage_kinds():
    if _kind not in _NOT_COMMANDS:
        _add_stage_command(_kind)


@app.command("list")
def list_(runs: Annotated[Path, typer.Option(help="folder with runs")] = Path("runs")) -> None:
    """Recipes that come with the package, and runs."""
    from tuningfork.document import parse
    from tuningfork.recipe import shipped_recipes
    from tuningfork.runs import runs_below, state

    typer.echo("recipes")
    for name, path in shipped_recipes().items():
        typer.echo(f"  {name}: {parse(path.read_text(encoding='utf-8'), str(path)).data.get('description', '')}")
    typer.echo(f"runs in {runs}")
    for found in runs_below(runs):
        typer.echo(f"  {found.path.name}: {state(found)}")


@app.command()
def show(run: RunName) -> None:
    """Verdict, measures, stages, figures and gates of a run."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.display import visible
    from tuningfork.runs import describe

    typer.echo(visible(describe(open_run(run))))


@app.command()
def diff(first: RunName, second: RunName) -> None:
    """What differs between two runs: settings, versions, figures, measures."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.display import visible
    from tuningfork.runs import differences

    rows = differences(open_run(first), open_run(second))
    for name, before, after in rows:
        typer.echo(visible(f"{name}: {before} | {after}"))
    if not rows:
        typer.echo("no difference")


@app.command()
def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="e.g. rl, rl.optimizer.floor, runtime.device")],
    run: Annotated[str | None, typer.Option(help="also the value in this run, and where it came from")] = None,
) -> None:
    """What a setting is: type, default, limits, meaning."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.explain import explain as text_of
    from tuningfork.recipe import load_recipe

    typer.echo(text_of(key, load_recipe(open_run(run).recipe) if run else None))


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="e.g. ppo, dpo, best_of")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text")] = False,
) -> None:
    """Methods to choose from: family, paper, needs; of one of them also formulas and settings with their sources."""
    from tuningfork import catalogue

    found = [catalogue.find_entry(name)] if name else catalogue.entries()
    if as_json:
        content = [catalogue.as_json(entry) for entry in found]
        typer.echo(json.dumps(content[0] if name else content, indent=2, ensure_ascii=False))
    else:
        typer.echo(catalogue.entry_text(found[0]) if name else catalogue.list_text())


@app.command()
def report(run: RunName) -> None:
    """Make a run's report.html again from its files."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.report import render_report

    folder = open_run(run)
    render_report(folder.path)
    typer.echo(str(folder.report))


@app.command()
def doctor() -> None:
    """Versions, threads, device, precision, disk: what is missing and what it costs."""
    from tuningfork.doctor import examine

    has_fault = False
    for finding in examine(Path("runs")):
        typer.echo(f"{finding.level:5}  {finding.subject}: {finding.text}")
        has_fault |= finding.level == "FAULT"
    raise typer.Exit(2 if has_fault else 0)


@app.command()
def schema() -> None:
    """The JSON schema of recipes, for editors."""
    from tuningfork.explain import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


@app.command()
def chat(
    run: RunName,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="before and after, beside each other")] = False,
    greedy: Annotated[bool, typer.Option("--greedy", help="the likeliest token every time")] = False,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="longest answer, in tokens")] = None,
) -> None:
    """Talk to the model a run made."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.serve.chat import chat as talk

    signal.signal(signal.SIGINT, signal.default_int_handler)  # there Ctrl-C ends the talk and is no error
    talk(open_run(run).path, side_by_side=side_by_side, greedy=greedy, max_new_tokens=max_new_tokens)


@app.command()
def why(run: RunName, prompt: Annotated[str, typer.Argument(help="a prompt")]) -> None:
    """One answer token by token: KL and reward parts, before and after."""
    from tuningfork.artifacts.run_folder import open_run
    from tuningfork.serve.why import why as explain_answer

    explain_answer(open_run(run).path, prompt)


@data_app.command("show")
def data_show(
    file: DataFile,
    rows: Annotated[int, typer.Option(min=1, help="how many rows")] = 5,
    model: ModelSource = None,
    shape: Shape = None,
    column: Column = None,
) -> None:
    """Parsed rows, with what is trained on in colour (in brackets where there is none)."""
    from tuningfork.data_commands import show as show_rows

    show_rows(file, rows, model=model, shape=shape, columns=column or [])


@data_app.command("check")
def data_check(
    file: DataFile,
    eval_file: Annotated[
        str | None, typer.Option("--eval", help="rows that must not occur among those of FILE")
    ] = None,
    model: ModelSource = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of lines")] = False,
    shape: Shape = None,
    column: Column = None,
    strict: Strict = False,
    skip_share: SkipShare = 0.01,
) -> None:
    """Audit data before anything is trained on it; exit code 1 where training would be pointless."""
    from tuningfork.data_commands import check

    is_good = check(
        file,
        evaluation=eval_file,
        model=model,
        as_json=as_json,
        shape=shape,
        columns=column or [],
        strict=strict,
        skip_share=skip_share,
    )
    raise typer.Exit(0 if is_good else 1)


@data_app.command("convert")
def data_convert(
    file: DataFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="a .jsonl file that does not exist yet")],
    to: Annotated[str | None, typer.Option(help="of a tree: conversation or ranking")] = None,
    shape: Shape = None,
    column: Column = None,
    strict: Strict = False,
    skip_share: SkipShare = 0.01,
) -> None:
    """Write data in the canonical form of its shape as JSON Lines; what has no place in it is kept under `extra`."""
    from tuningfork.data_commands import convert

    convert(file, out, to=to, shape=shape, columns=column or [], strict=strict, skip_share=skip_share)


add_label_commands(app)


def _run(recipe: Recipe, out: Path | None, store: Path | None, trust: bool) -> None:
    from tuningfork.evals.summary import read_summary
    from tuningfork.supervisor import run_recipe

    folder = run_recipe(recipe, out, store=store, trust=trust)
    if folder.summary.is_file():
        typer.echo("\n" + read_summary(folder.summary).verdict_text)
        typer.echo(f"report: {folder.report}")
    else:
        typer.echo(f"complete: {folder.path}")
        if folder.report.is_file():
            typer.echo(f"report: {folder.report}")
    if any(folder.path.glob("**/model/config.json")):
        typer.echo(f"chat: tuningfork chat {folder.path}")


def main() -> None:
    """Entry point: an error of the user's becomes one message and an exit code."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        app()
    except TuningforkError as error:
        from tuningfork.display import visible

        typer.echo(visible(str(error)), err=True)
        sys.exit(error.exit_code)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted("stopped")


if __name__ == "__main__":
    main()
