"""Recompute the golden values with trl, in trl's own environment: `make parity`.

    .venv-parity/bin/python tests/reference/parity/golden.py

Prints how far the new values are from those that are checked in, and writes them only where that is more than rounding.
"""
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import datasets
import torch
import transformers
import trl
from pairs_of_trl import record_feedback, record_pairs, record_rewards
from policies_of_trl import record_overlong, record_policies

FOLDER = Path(__file__).with_name("golden")
ROUNDING = 1e-6
RECORDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "pairs": record_pairs,
    "feedback": record_feedback,
    "rewards": record_rewards,
    "policies": record_policies,
    "overlong": record_overlong,
}


def rounded(value: Any) -> Any:
    """The value with nine significant digits, which is every bit of fp32."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value


def distance(new: Any, old: Any) -> float:
    """Largest difference of two numbers in the same place; infinite where the places differ."""
    if isinstance(new, dict) and isinstance(old, dict):
        same = new.keys() == old.keys()
        return max((distance(new[key], old[key]) for key in new), default=0.0) if same else math.inf
    if isinstance(new, list) and isinstance(old, list):
        same = len(new) == len(old)
        return max((distance(*both) for both in zip(new, old, strict=True)), default=0.0) if same else math.inf
    if isinstance(new, float) and isinstance(old, float | int):
        return abs(new - old)
    return 0.0 if new == old else math.inf


def main() -> int:
    datasets.disable_progress_bars()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    versions = {module.__name__: module.__version__ for module in (trl, torch, transformers)}
    for name, record in RECORDERS.items():
        path = FOLDER / f"{name}.json"
        new = rounded({"versions": versions, "cases": record()})
        off = distance(new["cases"], json.loads(path.read_text())["cases"]) if path.is_file() else math.inf
        is_new = off > ROUNDING
        print(f"{name}: {len(new['cases'])} cases, off by {off:.1e}: {'written' if is_new else 'kept'}")
        if is_new:
            path.write_text(json.dumps(new) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
