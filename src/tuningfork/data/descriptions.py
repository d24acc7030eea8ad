"""Restaurants as lists of facts, with descriptions that people wrote (E2E, Novikova et al. 2017): read, and shared out.

A folder holds `e2e_*.jsonl[.gz]`: rows `{"mr", "ref"}` or `{"mr", "refs"}`. A list of facts serves one purpose only, with
all its descriptions: training, the look during training, the test, or the language of the gold judge. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from tuningfork.data.jsonl import read_jsonl, write_jsonl
from tuningfork.errors import DataError
from tuningfork.randomness import numpy_generator
from tuningfork.settings import Settings

_FACT = re.compile(r"\s*([A-Za-z ]+?)\[([^\]]*)\]\s*(?:,|$)")


class DescriptionSettings(Settings):
    """How lists of facts are shared out."""

    test_share: float = Field(default=0.15, gt=0, lt=1)
    """share of the lists read once, by the evaluation"""
    monitor_share: float = Field(default=0.1, gt=0, lt=1)
    """share looked at during training"""
    gold_share: float = Field(default=0.2, gt=0, lt=1)
    """share whose descriptions the gold judge learns the language from"""


def parse_facts(text: str) -> dict[str, str]:
    """`name[Aromi], area[riverside]` as {"name": "Aromi", "area": "riverside"}; DataError for anything else."""
    facts, end = {}, 0
    while end < len(text):
        found = _FACT.match(text, end)
        if found is None:
            raise DataError(f"not a list of facts such as name[Aromi], area[riverside]: {text!r}")
        facts[found.group(1)] = found.group(2)
        end = found.end()
    return facts


def read_descriptions(folder: Path) -> dict[str, list[str]]:
    """Lists of facts with all their different descriptions; DataError where the folder holds none."""
    paths = sorted(path for suffix in ("jsonl", "jsonl.gz") for path in folder.glob(f"e2e_*.{suffix}"))
    if not paths:
        raise DataError(f"{folder}: no e2e_*.jsonl or e2e_*.jsonl.gz; give the folder that holds them")
    found: dict[str, list[str]] = {}
    for path in paths:
        for row in read_jsonl(path, required=("mr",)):
            parse_facts(row["mr"])
            texts = [" ".join(text.split()) for text in _texts(row, path)]
            known = found.setdefault(row["mr"], [])
            known.extend(text for text in dict.fromkeys(texts) if text and text not in known)
    return {facts: texts for facts, texts in found.items() if texts}


def share_out(
    descriptions: Mapping[str, Sequence[str]], settings: DescriptionSettings, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Rows of every data file, by file name without `.jsonl`."""
    lists = sorted(descriptions)
    order = [lists[index] for index in numpy_generator(seed, "descriptions").permutation(len(lists))]
    sizes = {name: round(getattr(settings, f"{name}_share") * len(order)) for name in ("test", "monitor", "gold")}
    parts, start = {}, 0
    for name, size in sizes.items():
        parts[name], start = order[start : start + size], start + size
    parts["train"] = order[start:]
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise DataError(f"{len(order)} lists of facts leave none for {' and '.join(empty)}; give more, or other shares")
    rows = {f"prompts_{name}": list(_prompts(parts[name], descriptions)) for name in ("train", "monitor", "test")}
    pairs = [(facts, text) for facts in parts["train"] for text in descriptions[facts]]
    return rows | {
        "pretrain": [{"text": f"{facts}\n{text}"} for facts, text in pairs],
        "sft": [{"prompt": f"{facts}\n", "completion": text} for facts, text in pairs],
        "language": [{"facts": facts, "text": text} for facts in parts["gold"] for text in descriptions[facts]],
    }


def prepare_descriptions(folder: Path, out: Path, settings: DescriptionSettings, seed: int) -> dict[str, int]:
    """Read, share out, write the data files into `out`; rows written by file name."""
    files = share_out(read_descriptions(folder), settings, seed)
    for name, rows in files.items():
        write_jsonl(out / f"{name}.jsonl", rows)
    return {name: len(rows) for name, rows in files.items()}


def _prompts(lists: Sequence[str], descriptions: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    for facts in lists:
        yield {
            "id": facts, "prompt": f"{facts}\n", "root": facts, "facts": facts, "references": list(descriptions[facts])
        }  # fmt: skip


def _texts(row: Mapping[str, Any], path: Path) -> list[str]:
    found = row.get("refs", row.get("ref"))
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{path}: the facts {row['mr']!r} have neither `ref` nor `refs`")
    return texts
