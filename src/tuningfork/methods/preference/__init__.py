"""Preference methods, one file each, found by name: a new file here is a new method.

Each module has what `PreferenceMethod` lists. They learn from judgements without sampling; the loop that calls them knows
no method by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import tuningfork.settings
from tuningfork.methods import finding

if TYPE_CHECKING:
    from torch import Tensor

    from tuningfork.batch import PreferenceNeeds


class PreferenceMethod(Protocol):
    """What a module of this package offers; `ABOUT` (`methods.about`) too, so that it is listed.

    Where its loss is known before any update, `start_loss(batch, settings)` gives it, (B,): the run asserts it.
    """

    Settings: type[tuningfork.settings.Settings]

    def needs(self, settings: Any) -> PreferenceNeeds:
        """What has to be computed for it, and whether it takes pairs or single responses."""
        ...

    def loss(self, batch: Any, settings: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Losses (B,) of `PairLogprobs` (or `TextLogprobs`), and detached metrics (B,) for `tensors.reduce_metrics`.

        The loss of an optimizer step is their mean, whatever micro-batches it is summed over.
        """
        ...


def names() -> list[str]:
    """Names of all preference methods."""
    return finding.names_in(__path__)


def load(name: str) -> PreferenceMethod:
    """The preference method of this name; an unknown name is a `RecipeError` that says what is near it."""
    return cast(PreferenceMethod, finding.load_from(__name__, name, names(), "preference method"))


def settings_choice() -> Any:
    """The type of a setting that names a method and sets it; made from the files here, so a new one is known everywhere."""
    return finding.choice_of({name: load(name) for name in names()})
