"""The choice of a judge in a recipe: `{name: model, by: {kind: local, model: FOLDER}}`. No torch here."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Annotated, Any, cast

import pydantic

from tuningfork import choices
from tuningfork.judges import kinds
from tuningfork.judges.base import JudgeKind


def kind_names() -> list[str]:
    """Names of all kinds of judges."""
    return list(kinds.NAMES)


def kind_module(name: str) -> JudgeKind:
    """The module of a kind."""
    return cast(JudgeKind, choices.kind_module(kinds, name))


if TYPE_CHECKING:
    JudgeSettings = Any
else:
    JudgeSettings = Annotated[
        functools.reduce(operator.or_, choices.named_settings(kinds, kinds.NAMES, "judge")),
        pydantic.Field(discriminator="name"),
    ]
