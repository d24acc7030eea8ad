"""What `tuningfork data show|check|convert` do. Only `--model` needs torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tuningfork.data.findings import AuditReport, Finding
from tuningfork.data.raw import UnknownData
from tuningfork.data.reader import SKIP_SHARE, Dataset, open_data
from tuningfork.data.shapes import UNKNOWN, parts
from tuningfork.data.shapes.tree import conversations, rankings
from tuningfork.display import visible
from tuningfork.errors import DataError

if TYPE_CHECKING:
    from tuningfork.data.token_audit import Tokens

_COLOURS: Mapping[str, dict[str, Any]] = {
    "target": {"fg": "green", "bold": True},
    "other": {"fg": "red"},
    "context": {},
}
_BRACKETS = {"target": ("⟦", "⟧"), "other": ("⟨", "⟩"), "context": ("", "")}


def show(file: str, count: int, *, model: str | None, shape: str | None, columns: Sequence[str]) -> None:
    """Print the first `count` rows with what is trained on; with a model as its tokens."""
    data = open_data(file, shape=shape, columns=columns_of(columns), skip_share=1.0)
    is_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    marks = "" if is_colour else "; ⟦trained on⟧ ⟨against it⟩"
    typer.echo(visible(f"{file}: shape {data.shape} ({data.explanation}){marks}"))
    tokens = _tokens(model, data)[0] if model else None
    if model and tokens is None:
        typer.echo(f"rows of the shape {data.shape} are not trained on token by token; shown as text")
    examples = _token_rows(tokens, count) if tokens else _text_rows(data, count)
    for place, pieces in examples:
        typer.echo("\n" + visible(place))
        for name, text, kind in pieces:
            start = f"{name}: " if name else ""
            typer.echo(start + _marked(text, kind, is_colour), nl=bool(name))
        if not pieces or not pieces[-1][0]:
            typer.echo()
    if data.skipped.count:
        typer.echo(visible(str(data.skipped)), err=True)


def _text_rows(data: Dataset, count: int) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    for place, row in islice(data.placed(), count):
        yield place, [(part.name, part.text, part.kind) for part in parts(data.shape, row)]


def _token_rows(tokens: Tokens, count: int) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    from tuningfork.data.token_audit import pieces

    for number, row in enumerate(tokens.rows[:count]):
        yield tokens.place(number), [("", text, kind) for text, kind in pieces(row, tokens.facts)]


def _marked(text: str, kind: str, is_colour: bool) -> str:
    """A piece as it is shown; control characters in it are escaped."""
    if is_colour:
        return typer.style(visible(text), **_COLOURS[kind])
    before, after = _BRACKETS[kind]
    return f"{before}{visible(text)}{after}"


def check(
    file: str,
    *,
    evaluation: str | None = None,
    model: str | None = None,
    as_json: bool = False,
    shape: str | None = None,
    columns: Sequence[str] = (),
    strict: bool = False,
    skip_share: float = SKIP_SHARE,
) -> bool:
    """Audit a source and print what was found; False where a finding says that training would be pointless."""
    try:
        report = _audit(file, evaluation, model, shape, columns_of(columns), strict, skip_share)
    except UnknownData as error:
        problem = Finding("unknown_shape", "stop", 0, 0, str(error))
        report = AuditReport(file, UNKNOWN, "", 0, 0.0, "characters", findings=(problem,))
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        typer.echo(visible("\n".join(report.lines())))
    return not report.stops


def _audit(
    file: str,
    evaluation: str | None,
    model: str | None,
    shape: str | None,
    columns: dict[str, str],
    strict: bool,
    share: float,
) -> AuditReport:
    from tuningfork.data.audit import audit

    data = open_data(file, shape=shape, columns=columns, strict=strict, skip_share=share)
    rows = list(data.placed())
    skipped = data.skipped.count
    held = open_data(evaluation, columns=columns, skip_share=share) if evaluation else None
    tokens, findings = _tokens(model, data) if model else (None, [])
    report = audit(
        rows,
        data.shape,
        source=file,
        explanation=data.explanation,
        skipped=skipped,
        evaluation=list(held.placed()) if held else (),
        evaluation_shape=held.shape if held else None,
        tokens=tokens,
    )
    return replace(report, findings=(*findings, *report.findings))


def convert(
    file: str,
    out: Path,
    *,
    to: str | None = None,
    shape: str | None = None,
    columns: Sequence[str] = (),
    strict: bool = False,
    skip_share: float = SKIP_SHARE,
) -> None:
    """Write canonical rows as JSON Lines. Nothing is written where the source cannot be read to its end."""
    if out.suffix != ".jsonl":
        raise DataError(f"{out}: the canonical form is JSON Lines; name it .jsonl")
    if out.exists():
        raise DataError(f"{out} exists already; choose another name")
    data = open_data(file, shape=shape, columns=columns_of(columns), strict=strict, skip_share=skip_share)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    count = 0
    try:
        with temporary.open("w", encoding="utf-8") as target:
            for row in _converted(data, to):
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
        os.replace(temporary, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
    typer.echo(visible(f"{out}: {count:,} rows of the shape {to or data.shape}; {data.skipped}"))


def _converted(data: Dataset, to: str | None) -> Iterator[dict[str, Any]]:
    if to is None or to == data.shape:
        yield from data
        return
    makers = {"conversation": conversations, "ranking": rankings}
    if data.shape != "tree" or to not in makers:
        raise DataError(
            f"--to {to}: only a tree becomes another shape, conversation or ranking; {data.source} is {data.shape}"
        )
    for row in data:
        yield from makers[to](row)


def columns_of(pairs: Sequence[str]) -> dict[str, str]:
    """`["prompt=frage"]` as `{"prompt": "frage"}`."""
    columns = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise DataError(f"--column {wrong[0]}: expected FIELD=COLUMN, e.g. prompt=question_text")
    return columns


def _tokens(model: str, data: Dataset) -> tuple[Tokens | None, list[Finding]]:
    from tuningfork.data.tokens import tokens_of
    from tuningfork.model.loading import load_backbone
    from tuningfork.runtime import Runtime

    return tokens_of(load_backbone(model, Runtime("cpu", "fp32", 1)), data)
