"""A Python function as reward: `module:function` or `file.py:function`, called with (prompt, response, metadata)."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

import tuningfork.settings
from tuningfork.errors import RecipeError, RunError
from tuningfork.reward.base import UNSCORABLE, Item, Reward, RewardSources, Score
from tuningfork.settings import Code


class Settings(tuningfork.settings.Settings):
    """Settings of a reward function."""

    function: Code
    """`module:function` or `file.py:function`; takes (prompt, response, metadata), returns a number, or a mapping of
    named parts whose sum is the reward"""
    max_unscorable: float = Field(default=0.05, ge=0, le=1)
    """share of a batch that may raise, or return None or NaN, before the run stops; one always may"""


def load(settings: Settings, sources: RewardSources) -> Reward:
    """The function, checked for taking three arguments."""
    return FunctionReward(find_function(settings.function), settings.function, settings.max_unscorable)


class FunctionReward:
    """Calls the function for each item. A call that raises, or gives None or NaN, makes that item unscorable."""

    def __init__(self, function: Callable[..., Any], name: str = "", max_unscorable: float = 0.05) -> None:
        self.function, self.name, self.max_unscorable = function, name or function.__name__, max_unscorable

    def score(self, items: Sequence[Item]) -> list[Score]:
        """One score an item; RunError when too many cannot be scored."""
        failures: list[str] = []
        scores = [self._call(item, failures) for item in items]
        if len(failures) > max(1, self.max_unscorable * len(items)):
            raise RunError(
                f"{self.name} could not score {len(failures)} of {len(items)} responses (at most "
                f"{self.max_unscorable:.0%} may fail: max_unscorable); the first: {failures[0]}"
            )
        return scores

    def _call(self, item: Item, failures: list[str]) -> Score:
        try:
            score = read_score(self.function(item.prompt, item.response, item.metadata))
        except Exception as error:  # the user's function may raise anything, and one text must not end a run
            where = traceback.extract_tb(error.__traceback__)[-1]
            failures.append(f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
            return UNSCORABLE
        if score.total is None:
            failures.append("it returned None, NaN or an infinite number")
        return score


def read_score(value: Any) -> Score:
    """A score from what a function returned; TypeError for what is neither a number nor a mapping of numbers."""
    if value is None:
        return UNSCORABLE
    parts = {str(name): _number(part) for name, part in value.items()} if isinstance(value, Mapping) else {}
    total = math.fsum(parts.values()) if isinstance(value, Mapping) else _number(value)
    return Score(total, parts) if math.isfinite(total) else UNSCORABLE


def find_function(reference: str) -> Callable[..., Any]:
    """The function behind `module:function` or `file.py:function`; RecipeError where it is none."""
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise RecipeError(f"{reference!r} is not of the form module:function or file.py:function")
    module = _load_file(Path(place)) if place.endswith(".py") else _import(place)
    function = getattr(module, name, None)
    if not callable(function):
        raise RecipeError(f"{place} has no function {name!r}")
    try:
        inspect.signature(function).bind("prompt", "response", {})
    except TypeError as error:
        raise RecipeError(f"{reference} has to take (prompt, response, metadata): {error}") from error
    return function


def _number(value: Any) -> float:
    if isinstance(value, str | bytes):
        raise TypeError(f"a reward is a number, not {value!r}")
    return float(value)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RecipeError(f"{error}; a reward function is named module:function or file.py:function") from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise RecipeError(f"{path} does not exist; a path of a reward function starts at the current directory")
    spec = importlib.util.spec_from_file_location(f"tuningfork_reward_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise RecipeError(f"{path}:{error.lineno}: {error.msg}") from error
    return module
