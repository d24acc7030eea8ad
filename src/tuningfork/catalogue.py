"""Every method in words: name, family, paper, needs, settings with where their defaults are from. No torch here.

Made from the methods' own files; `tuningfork methods` prints it and docs/methods.md is generated from it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tuningfork.document import render_scalar
from tuningfork.errors import RecipeError
from tuningfork.explain import type_name
from tuningfork.kinds import stage_settings, suggestion, use_own_methods
from tuningfork.methods import best_of, policy, preference, selection
from tuningfork.methods.about import About

Family = Literal["policy", "preference", "selection"]

_ARXIV = re.compile(r"\b(\d{4}\.\d{4,5})\b")
_AVERAGES = {
    "token_mean": "all tokens of the step",
    "sequence_mean": "tokens of a response, then responses",
    "sequence_sum": "sum over a response's tokens, mean over responses",
    "constant": "sum over tokens / (longest response x responses)",
}
_NEEDS = {
    "values": "values",
    "groups": "groups",
    "reference": "reference",
    "unpaired": "single responses that were found good or bad",
    "on_policy": "fresh responses",
}


@dataclass(frozen=True)
class Setting:
    """One setting of a method."""

    name: str
    type: str
    default: Any
    meaning: str
    source: str
    """where the default is from; empty for a method that does not say"""


@dataclass(frozen=True)
class Entry:
    """One method."""

    name: str
    family: Family
    stage: str
    """the stage that runs it"""
    title: str
    summary: str
    papers: list[str]
    needs: str
    file: str
    settings: list[Setting]
    cells: dict[str, str]
    """its row in the table of its family, by column, the title apart"""
    text: str
    """the head of its file: formulas and sources"""


def entries() -> list[Entry]:
    """Every method, by family, the oldest first; those in folders of one's own too."""
    use_own_methods()
    families = (
        [_policy(name) for name in policy.names()],
        [_preference(name) for name in preference.names()],
        [_best_of(), *(_selection(name) for name in selection.names())],
    )
    return [entry for family in families for entry in sorted(family, key=_age)]


def find_entry(name: str) -> Entry:
    """The method of this name; RecipeError with what is near it for an unknown one."""
    known = {entry.name: entry for entry in entries()}
    if name not in known:
        raise RecipeError(f"there is no method {name!r}; {suggestion(name, known)}")
    return known[name]


def as_json(entry: Entry) -> dict[str, Any]:
    """An entry as plain data."""
    return asdict(entry) | {"links": [link for paper in entry.papers for link in links(paper)]}


def list_text() -> str:
    """All methods, a line each below their family."""
    found = entries()
    width = max(len(entry.name) for entry in found)
    lines: list[str] = []
    for family in get_args(Family):
        group = [entry for entry in found if entry.family == family]
        stages = " or ".join(f"`{stage}`" for stage in dict.fromkeys(entry.stage for entry in group))
        lines += [f"{family}: stage {stages}"]
        for entry in group:
            lines.append(f"  {entry.name.ljust(width)}  {entry.summary}")
            below = [", ".join(entry.papers), f"needs {entry.needs}" if entry.needs else ""]
            if any(below):
                lines.append(f"  {' ' * width}  {'; '.join(filter(None, below))}")
    return "\n".join([*lines, "", "tuningfork methods NAME tells more of one."])


def entry_text(entry: Entry) -> str:
    """One method: what it is, what it needs, its formulas, its settings with the sources of their defaults."""
    lines = [
        f"{entry.name}: {entry.title}, a {entry.family} method of the stage `{entry.stage}`",
        f"  {entry.summary}",
        *(f"  {link}" for paper in entry.papers for link in links(paper)),
        f"  needs: {entry.needs or 'nothing beyond the policy'}",
        f"  file: {entry.file}",
        "",
        *(f"  {line}".rstrip() for line in entry.text.splitlines()),
        "",
        "settings",
    ]
    width = max((len(setting.name) for setting in entry.settings), default=0)
    for setting in entry.settings:
        source = f" [{setting.source}]" if setting.source else ""
        lines.append(f"  {setting.name.ljust(width)}  {setting.type}, default {render_scalar(setting.default)}{source}")
        lines.append(f"  {' ' * width}  {setting.meaning}")
    return "\n".join(lines)


def links(paper: str) -> list[str]:
    """Addresses of the arXiv numbers in a source."""
    return [f"https://arxiv.org/abs/{number}" for number in _ARXIV.findall(paper)]


def linked(paper: str) -> str:
    """A source as Markdown with its arXiv numbers as links."""
    return _ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", paper)


def _age(entry: Entry) -> tuple[str, str]:
    """arXiv numbers begin with year and month; what has none is older, and a method without a source comes last."""
    numbers = _ARXIV.findall(entry.papers[0]) if entry.papers else ["9999"]
    return (min(numbers, default=""), entry.name)


def _policy(name: str) -> Entry:
    module = policy.load(name)
    defaults = module.Settings()
    fields = type(defaults).model_fields
    kl_in = ", ".join(_default_first(fields["kl_in"])) if "kl_in" in fields else ""
    needs = module.needs(defaults)
    wanted = [text for key, text in _NEEDS.items() if getattr(needs, key, False)]
    if "kl_in" in fields:
        wanted = [
            text for text in wanted if text != _NEEDS["reference"]
        ]  # only where it charges KL, which the column says
    cells = {"average": _AVERAGES[module.average], "baseline": "", "KL (the default first)": kl_in}
    return _entry(name, "policy", "rl", cast(ModuleType, module), wanted, cells)


def _preference(name: str) -> Entry:
    module = preference.load(name)
    needs = module.needs(module.Settings())
    wanted = [text for key, text in _NEEDS.items() if getattr(needs, key, False)]
    return _entry(name, "preference", "preference", cast(ModuleType, module), wanted, {"log-probabilities": ""})


def _selection(name: str) -> Entry:
    return _entry(
        name, "selection", "rejection", cast(ModuleType, selection.load(name)), ["a reward"], {"compared": ""}
    )


def _best_of() -> Entry:
    fields = {name: field for name, field in stage_settings("best_of").model_fields.items() if name == "samples"}
    settings = [_setting(name, field, best_of.ABOUT.defaults) for name, field in fields.items()]
    return _entry("best_of", "selection", "best_of", best_of, ["a reward"], {"compared": ""}, settings)


def _entry(
    name: str,
    family: Family,
    stage: str,
    module: ModuleType,
    needs: list[str],
    cells: Mapping[str, str],
    settings: list[Setting] | None = None,
) -> Entry:
    text = inspect.getdoc(module) or ""
    about = getattr(module, "ABOUT", None) or _of_docstring(name, text)
    all_needs = ", ".join(needs) + ("; " if needs and about.also_needs else "") + about.also_needs
    path = Path(str(module.__file__))
    root = Path(__file__).parents[2]
    return Entry(
        name=name,
        family=family,
        stage=stage,
        title=about.title,
        summary=about.summary,
        papers=list(about.papers),
        needs=all_needs,
        file=path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path),
        settings=settings if settings is not None else list(_settings(module.Settings, about.defaults)),
        cells={"loss": about.loss}
        | {key: about.columns.get(key.partition(" (")[0], value) for key, value in cells.items()},
        text=text,
    )


def _of_docstring(name: str, text: str) -> About:
    """What can be said of a method of the user's own that says nothing itself: the first line of its file."""
    first = text.partition("\n")[0]
    papers = tuple(_ARXIV.findall(first))
    return About(title=name, summary=first.rstrip("."), papers=papers, loss="", columns={}, defaults={})


def _settings(model: type[BaseModel], sources: Mapping[str, str]) -> Iterator[Setting]:
    inherited: dict[str, str] = {}
    for base in reversed(model.__mro__):
        inherited |= getattr(sys.modules[base.__module__], "DEFAULTS", {})
    for name, field in model.model_fields.items():
        yield _setting(name, field, inherited | dict(sources))


def _setting(name: str, field: FieldInfo, sources: Mapping[str, str]) -> Setting:
    meaning = " ".join((field.description or "").split())
    return Setting(name, type_name(field.annotation), field.get_default(), meaning, sources.get(name, ""))


def _default_first(field: FieldInfo) -> list[str]:
    choices = list(get_args(field.annotation))
    return sorted(choices, key=lambda choice: choice != field.default)
