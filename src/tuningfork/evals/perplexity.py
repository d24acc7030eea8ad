"""How well a model predicts text it was not trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tuningfork.evals.summary import Limit, Measure, point_measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuningfork.model.backbone import Backbone


def text_figures(backbone: Backbone, texts: Sequence[str], length: int) -> dict[str, float]:
    """Perplexity per token and bits per byte of texts; only the second compares across tokenizers.

    bits per byte = NLL / (bytes * ln 2), with each text's EOS among the tokens. Each text is read by itself, one longer
    than `length` tokens in pieces.
    """
    from tuningfork.streams.text import text_nll, text_rows

    rows = text_rows(backbone, texts, length, "none")
    nll, count = text_nll(backbone, sorted(rows, key=lambda row: len(row.ids)))
    num_bytes = sum(len(text.encode()) for text in texts)
    return {"perplexity": math.exp(nll / count), "bits_per_byte": nll / (num_bytes * math.log(2))}


def perplexity_measure(
    before: Backbone, after: Backbone, texts: Sequence[str], length: int, *, seed: int, largest_ratio: float
) -> Measure:
    """Perplexity of unrelated text before and after, a guard on their ratio."""
    first, second = (text_figures(backbone, texts, length)["perplexity"] for backbone in (before, after))
    return point_measure(
        "perplexity",
        first,
        second,
        role="guard",
        direction="lower",
        seed=seed,
        limit=Limit(on="ratio", maximum=largest_ratio),
        definition="perplexity per token of unrelated held-out text",
    )
