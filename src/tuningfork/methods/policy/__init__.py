"""Policy-gradient methods, one file each, found by name: a new file here is a new method.

Each module has what `PolicyMethod` lists. The loop that calls them knows no method by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import tuningfork.settings
from tuningfork.methods import finding

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.batch import Advantages, Experience, Needs, PolicyBatch
    from tuningfork.methods.average import Average


class PolicyMethod(Protocol):
    """What a module of this package offers; `ABOUT` (`methods.about`) too, so that it is listed."""

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
    return finding.names_in(__path__)


def load(name: str) -> PolicyMethod:
    """The policy method of this name; an unknown name is a `RecipeError` that says what is near it."""
    return cast(PolicyMethod, finding.load_from(__name__, name, names(), "policy method"))


def settings_choice() -> Any:
    """The type of a setting that names a method and sets it; made from the files here, so a new one is known everywhere."""
    return finding.choice_of({name: load(name) for name in names()})
