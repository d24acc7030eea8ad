"""Methods in words: what `About` holds is complete, and its mappings name settings that exist."""

from __future__ import annotations

import dataclasses

import pytest

from tuningfork.methods import about, preference
from tuningfork.methods.about import About


def test_every_part_has_to_be_given() -> None:
    with pytest.raises(TypeError):
        About(title="DPO", summary="", papers=(), loss="")  # type: ignore[call-arg]


def test_parts_are_given_by_name_and_never_change() -> None:
    parts = {"title": "DPO", "summary": "s", "papers": (), "loss": "", "columns": {}, "defaults": {}}
    with pytest.raises(TypeError):
        About(*parts.values())  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        About(**parts).title = "IPO"  # type: ignore[misc]


@pytest.mark.parametrize("name", preference.names())
def test_a_method_for_preferences_says_which_log_probabilities_it_reads(name: str) -> None:
    said = preference.load(name).ABOUT  # type: ignore[attr-defined]
    assert isinstance(said, about.About) and set(said.columns) == {"log-probabilities"}
