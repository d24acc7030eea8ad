"""The links that let annotators in: made once, kept in a file beside the database that only its owner can read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tuningfork.errors import RunError
from tuningfork.feedback.database import Database
from tuningfork.feedback.schema import ANNOTATOR, LEAD
from tuningfork.feedback.security import add_annotator, new_token


def make_links(
    database: Database, file: Path, lead: str, annotators: Sequence[str], *, renew: bool = False
) -> dict[str, str]:
    """Token of each account by name, the lead first. Those in the file stay as they are, unless `renew`."""
    tokens = {} if renew else _read(file)
    for name in (lead, *annotators):
        if not name or len(name) > 60 or not name.isprintable():
            raise RunError(f"--annotators: {name!r} is no name")
        tokens.setdefault(name, new_token())
        add_annotator(database, name, tokens[name], role=LEAD if name == lead else ANNOTATOR)
    _write(file, tokens)
    return {name: tokens[name] for name in dict.fromkeys((lead, *annotators))}


def _read(file: Path) -> dict[str, str]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise RunError(f"{file} is damaged; remove it, and everyone gets a new link") from error


def _write(file: Path, tokens: dict[str, str]) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(tokens, stream, indent=2)
    temporary.replace(file)
