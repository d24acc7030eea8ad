"""One small world for all tests here: a user's extension of the shipped spec, so that a build takes little time."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tuningfork.worlds.colours.spec import HERE

SMALL = {"mentions": 20, "sft_rows": 60, "unrelated_rows": 40}
GROUPS = {"held_out_test": 9, "held_out_monitor": 6, "unknown": 5}


@pytest.fixture(scope="session")
def small_spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the shipped spec with fewer rows and 40 objects, one of them new, listed in the file itself."""
    content = yaml.safe_load((HERE / "spec.yaml").read_text(encoding="utf-8")) | SMALL
    content["groups"] = GROUPS
    shipped = yaml.safe_load((HERE / "objects.yaml").read_text(encoding="utf-8"))
    content["objects"] = [*shipped[:34], *shipped[-5:], "flying machine"]
    path = tmp_path_factory.mktemp("spec") / "small.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
