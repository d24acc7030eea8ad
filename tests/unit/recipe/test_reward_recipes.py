"""The recipes of docs/results/reward-models.md load over the folder of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuningfork.recipe import load_recipe

SHARED = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not there")
def test_they_load_and_share_their_pretraining() -> None:
    cards, variants = (
        load_recipe(f"reward-{name}-local", [f"data={SHARED}"]).stages for name in ("models", "variants")
    )
    assert [stage.settings for stage in cards[:2]] == [stage.settings for stage in variants[:2]]
    assert {stage.kind for stage in (*cards[2:], *variants[2:])} == {"reward"} and len(cards) == 8
