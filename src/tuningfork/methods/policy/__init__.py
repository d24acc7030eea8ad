"""Policy-gradient methods, one file each, found by name: a new file here is a new method.

Each module has what `PolicyMethod` lists. The loop that calls them knows no method by name.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import operator
import pkgutil
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, cast

import pydantic

import tuningfork.settings
from tuningfork.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
    from tuningfork.methods.average import Average


class PolicyMethod(Protocol):
    """What a module of this package offers."""

    Settings: type[tuningfork.settings.Settings]
    average: Average
    """The average its paper uses."""

    def needs(self, settings: Any) -> Needs:
        """What has to be computed for it."""
        ...

    def advantages(self, experience: Experience, settings: Any) -> tuple[Advantages, dict[str, float]]:
        """Advantages of a batch of responses, once, before any update; and metrics of the batch."""
        ...

    def token_loss(self, batch: PolicyBatch, settings: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses (B, T), and detached metrics (B, T) for `tensors.reduce_metrics`."""
        ...


def names() -> list[str]:
    """Names of all policy methods."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> PolicyMethod:
    """The policy method of this name; an unknown name is a `RecipeError` that says what is near it."""
    if name not in names():
        near = difflib.get_close_matches(name, names())
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names())}."
        raise RecipeError(f"no policy method {name!r}: {hint}")
    return cast(PolicyMethod, importlib.import_module(f"{__name__}.{name}"))


def settings_choice() -> Any:
    """The type of a setting that names a method and sets it: `{name: ppo, clip_range: 0.2}`.

    Checked by that method's own settings. Made from the files of this package, so a new method is known everywhere.
    """
    choices = [_named_settings(name) for name in names()]
    return Annotated[functools.reduce(operator.or_, choices), pydantic.Field(discriminator="name")]


def _named_settings(name: str) -> type[tuningfork.settings.Settings]:
    method = load(name)
    field: dict[str, Any] = {"name": (Literal[name], name)}
    return pydantic.create_model(f"{name}_settings", __base__=method.Settings, __doc__=method.__doc__, **field)
