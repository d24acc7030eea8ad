"""Methods in words: what `About` holds is complete, and its mappings name settings that exist."""

from __future__ import annotations

import pytest

from tuningfork.methods import about, preference
from tuningfork.methods.about import About


def test_every_part_has_to_be_given() -> None:
    with pytest.raises(TypeError):
        About(title="DPO", summary="", papers=(), loss="")  # type: ignore[call-arg]


@pytest.mark.parametrize("name", preference.names())
def test_a_method_for_preferences_says_which_log_probabilities_it_reads(name: str) -> None:
    said = preference.load(name).ABOUT  # type: ignore[attr-defined]
    assert isinstance(said, about.About) and set(said.columns) == {"log-probabilities"}
