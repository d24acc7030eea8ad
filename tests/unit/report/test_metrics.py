"""The list of metrics that report and docs are made from."""

import ast
from pathlib import Path

import tuningfork
from tuningfork.artifacts.metrics import METRICS, find_metric, markdown_table

SOURCE = Path(tuningfork.__file__).parent


def test_names_are_unique_and_defined():
    rows = markdown_table().splitlines()[2:]
    assert len(rows) == len(METRICS) and all(metric.definition and metric.label for metric in METRICS.values())


def test_prefixes():
    replay = find_metric("replay/loss")
    assert replay is not None and replay.label == "replay: loss" and replay.is_charted
    gold = find_metric("gold/gem_share")
    assert gold is not None and gold.label == "gold: gem share" and gold.is_charted
    part = find_metric("score/lexicon")
    assert part is not None and "lexicon" in part.definition and part.is_charted
    assert find_metric("nonsense") is None and find_metric("replay/nonsense") is None


def reported_keys(source: str) -> set[str]:
    """String keys of dictionaries made in functions that return metrics (`dict[str, Tensor]` or `dict[str, float]`)."""
    keys: set[str] = set()
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef) or function.returns is None or function.name == "state":
            continue
        if not {"dict[str, Tensor]", "dict[str, float]"} & set(map(ast.unparse, ast.walk(function.returns))):
            continue
        for node in ast.walk(function):
            found = node.keys if isinstance(node, ast.Dict) else ()
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                found = [node.slice]
            keys |= {key.value for key in found if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return keys


def test_what_methods_and_streams_report_is_in_the_list():
    files = [path for folder in ("methods", "streams") for path in (SOURCE / folder).rglob("*.py")]
    keys = set().union(*(reported_keys(path.read_text(encoding="utf-8")) for path in files))
    assert {"ratio_mean", "clip_fraction", "value_loss", "score_mean", "sampler_gap"} <= keys
    assert keys <= set(METRICS), sorted(keys - set(METRICS))
