"""A trained model from elsewhere: Llama with grouped queries, tied embeddings and a SentencePiece-style tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuningfork.model.loading import load_backbone
from tuningfork.model.settings import Lora
from tuningfork.model.tree import count_parameters
from tuningfork.runtime import Runtime

STORIES = Path(__file__).parents[4] / "shared" / "data" / "models" / "tinystories_656k"
pytestmark = pytest.mark.skipif(not STORIES.is_dir(), reason="../shared/data/models/tinystories_656k is not there")


def test_it_knows_english(runtime: Runtime) -> None:
    """It expects words in their order and not scrambled (the first and last token of any text surprise it)."""
    backbone = load_backbone(STORIES, runtime)
    assert (backbone.pad_id, backbone.start_ids, backbone.stop_ids, backbone.notes) == (0, [1], (2,), [])
    story = "Once upon a time, there was a little girl named Lily. She loved to play in the park with her mom."
    scrambled = "Park the a in girl, mom little Lily was play her with named there. to time upon loved Once She a."
    losses = []
    for text in (story, scrambled):
        ids = torch.tensor([[*backbone.start_ids, *backbone.encode([text])[0]]])
        logits = backbone.lm_head(backbone.hidden(ids, torch.ones_like(ids, dtype=torch.bool)))
        losses.append(torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).item())
    assert losses[0] < 4.0 < 8.0 < losses[1]


def test_greedy_continuation_is_that_of_transformers(runtime: Runtime) -> None:
    backbone = load_backbone(STORIES, runtime)
    prompt = [*backbone.start_ids, *backbone.encode(["Once upon a time"])[0]]
    ids, mask, cache, written = torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.bool), None, []
    with torch.no_grad():
        for _ in range(24):
            hidden, cache = backbone.forward_cached(ids, mask, cache=cache)
            ids = backbone.lm_head(hidden[:, -1]).argmax(-1, keepdim=True)
            mask = torch.cat([mask, torch.ones(1, 1, dtype=torch.bool)], 1)
            written.append(ids.item())
    expected = backbone.model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)  # pyright: ignore
    assert written == expected[0, len(prompt) :].tolist()
    assert "there was a" in backbone.decode([written])[0] or "a little" in backbone.decode([written])[0]


def test_tied_embeddings_survive_saving_with_an_adapter(runtime: Runtime, tmp_path: Path) -> None:
    backbone = load_backbone(STORIES, runtime, adapter=Lora(last_layers=1))
    total = count_parameters(backbone.model).total
    backbone.save(tmp_path)
    again = load_backbone(tmp_path, runtime)
    assert count_parameters(again.model).total == total - count_parameters(backbone.model).trainable
