"""`tuningfork methods`: every method says what it is, what it needs, and where its defaults are from."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from tuningfork import catalogue
from tuningfork.cli import app
from tuningfork.errors import RecipeError
from tuningfork.methods import policy, preference, selection

ENTRIES = {entry.name: entry for entry in catalogue.entries()}


def test_every_method_is_listed_once_below_its_family() -> None:
    by_family = {
        family: {e.name for e in ENTRIES.values() if e.family == family} for family in ("policy", "preference")
    }
    assert by_family == {"policy": set(policy.names()), "preference": set(preference.names())}
    assert {e.name for e in ENTRIES.values() if e.family == "selection"} == {"best_of", *selection.names()}
    assert len(catalogue.entries()) == len(ENTRIES)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_method_says_what_it_is_and_where_each_default_is_from(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.title and len(entry.summary) > 20 and entry.papers and all(entry.cells.values())
    assert any(catalogue.links(paper) for paper in entry.papers)
    assert entry.settings and all(setting.source and setting.meaning for setting in entry.settings)
    assert set(_about(name).defaults) <= {setting.name for setting in entry.settings}


def _about(name: str):
    from tuningfork.methods import best_of

    if name == "best_of":
        return best_of.ABOUT
    family = next(family for family in (policy, preference, selection) if name in family.names())
    return family.load(name).ABOUT  # type: ignore[attr-defined]


def test_needs_and_defaults_are_those_of_the_code() -> None:
    assert ENTRIES["a2c"].needs == "values, fresh responses" and ENTRIES["ppo"].needs.startswith("values;")
    assert ENTRIES["kto"].needs == "reference, single responses that were found good or bad"
    assert ENTRIES["simpo"].needs == ""
    assert ENTRIES["grpo"].cells["KL (the default first)"] == "loss, reward, none"
    assert ENTRIES["online_dpo"].cells["KL (the default first)"] == "in `beta`"
    for entry in ENTRIES.values():
        family = {"policy": policy, "preference": preference, "selection": selection}[entry.family]
        if entry.name != "best_of":
            chosen = family.load(entry.name).Settings()
            assert {s.name: s.default for s in entry.settings} == {
                s.name: getattr(chosen, s.name) for s in entry.settings
            }


def test_commands_print_text_and_json() -> None:
    everything = CliRunner().invoke(app, ["methods"])
    assert everything.exit_code == 0
    assert all(re.search(rf"^  {name} ", everything.output, flags=re.MULTILINE) for name in ENTRIES)
    one = CliRunner().invoke(app, ["methods", "ppo"]).output
    assert "https://arxiv.org/abs/1707.06347" in one and "ratio_t  = exp(logprob_t - old_logprob_t)" in one
    assert re.search(r"clip_range +number, default 0.2 \[1707.06347", one)
    listed = json.loads(CliRunner().invoke(app, ["methods", "--json"]).output)
    assert [row["name"] for row in listed] == list(ENTRIES)
    row = json.loads(CliRunner().invoke(app, ["methods", "dpo", "--json"]).output)
    assert row["family"] == "preference" and row["links"] == ["https://arxiv.org/abs/2305.18290"]
    assert {s["name"]: s["default"] for s in row["settings"]}["beta"] == 0.1


def test_an_unknown_method_is_answered_with_what_is_near() -> None:
    with pytest.raises(RecipeError, match="there is no method 'pppo'; did you mean ppo"):
        catalogue.find_entry("pppo")
