"""Packed documents stay apart in every architecture: the same numbers as alone, and no bit moves with a neighbour."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES

from tuningfork.data.packing import pack_rows
from tuningfork.data.rows import TokenRow
from tuningfork.errors import ModelError
from tuningfork.methods.average import average_weights
from tuningfork.model.backbone import Backbone
from tuningfork.model.hub import transformers_library
from tuningfork.model.loading import load_backbone
from tuningfork.model.packing import check_documents, document_mask, document_positions
from tuningfork.model.settings import Full
from tuningfork.streams.text import collate, text_loss

KINDS = ("eager", "sdpa")


def documents(seed: int = 5) -> list[TokenRow]:
    """Documents of 3 to 9 tokens; the first two tokens of each are its prompt."""
    source = torch.Generator().manual_seed(seed)
    rows = []
    for length in (9, 3, 5, 7, 4, 6):
        ids = torch.randint(21, 277, (length,), generator=source).tolist()
        rows.append(TokenRow(ids, [False, False] + [True] * (length - 2)))
    return rows


def load(folder: Path, runtime: Any, attention: str, dtype: torch.dtype = torch.float32) -> Backbone:
    backbone = load_backbone(folder, runtime, adapter=Full(), dtype=dtype)
    backbone.model.set_attn_implementation(attention)
    return backbone


def loss_and_gradient(backbone: Backbone, rows: list[TokenRow]) -> tuple[float, torch.Tensor]:
    """Mean over all targets, as one optimizer step takes it."""
    batch = collate(rows, backbone.pad_id)
    weights = average_weights(batch.loss_weights, "token_mean")
    batch = replace(batch, loss_weights=weights)
    backbone.model.zero_grad()
    output = text_loss(backbone, batch)
    output.loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in backbone.trainable_parameters() if p.grad is not None])
    return output.loss.item(), gradient


def test_positions_and_attention_of_packed_documents() -> None:
    numbers = torch.tensor([[0, 0, 0, 1, 1, 2]])
    assert document_positions(numbers).tolist() == [[0, 1, 2, 0, 1, 0]]
    assert document_mask(numbers)[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


@pytest.mark.parametrize("attention", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_and_unpacked_training_agree(
    folders: dict[str, Path], runtime: Any, architecture: str, attention: str
) -> None:
    rows = documents()
    packed = pack_rows(rows, 13)
    assert len(packed) == 3
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        backbone = load(folders[architecture], runtime, attention, dtype)
        loss, gradient = loss_and_gradient(backbone, rows)
        packed_loss, packed_gradient = loss_and_gradient(backbone, packed)
        assert abs(packed_loss - loss) <= tolerance * abs(loss)
        assert (packed_gradient - gradient).norm() <= tolerance * gradient.norm()
        assert gradient.norm() > 0.01


@pytest.mark.parametrize("attention", KINDS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_another_document_moves_no_bit(
    folders: dict[str, Path], runtime: Any, architecture: str, attention: str
) -> None:
    backbone = load(folders[architecture], runtime, attention)
    (row, *_) = pack_rows(documents(), 60)
    batch = collate([row], backbone.pad_id)

    def logits(ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return backbone.lm_head(backbone.hidden(ids, batch.mask, documents=batch.documents))[0]

    before = logits(batch.ids)
    for start, end in zip(row.starts, [*row.starts[1:], len(row.ids)], strict=True):
        other = batch.ids.clone()
        other[0, start:end] = (other[0, start:end] + 40) % 277
        after = logits(other)
        assert not torch.equal(after[start:end], before[start:end])
        assert torch.equal(after[:start], before[:start]) and torch.equal(after[end:], before[end:])


def test_micro_batches_of_packed_rows_give_the_same_gradient(folders: dict[str, Path], runtime: Any) -> None:
    backbone = load(folders["llama"], runtime, "sdpa", torch.float64)
    packed = pack_rows(documents(), 13)
    batch = collate(packed, backbone.pad_id)
    batch = replace(batch, loss_weights=average_weights(batch.loss_weights, "token_mean"))
    _, whole = loss_and_gradient(backbone, packed)
    backbone.model.zero_grad()
    for row in range(len(batch)):
        text_loss(backbone, batch.slice(slice(row, row + 1))).loss.backward()
    split = torch.cat([p.grad.flatten() for p in backbone.trainable_parameters() if p.grad is not None])
    assert (split - whole).norm() <= 1e-12 * whole.norm()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_without_documents_they_would_see_each_other(folders: dict[str, Path], runtime: Any, architecture: str) -> None:
    """What the tests above rule out really happens when a packed row is taken for one text."""
    backbone = load(folders[architecture], runtime, "sdpa")
    packed = pack_rows(documents(), 13)
    _, gradient = loss_and_gradient(backbone, packed)
    _, crossed = loss_and_gradient(backbone, [TokenRow(row.ids, row.is_target) for row in packed])
    assert (gradient - crossed).norm() > 0.01 * gradient.norm()


def test_padding_of_a_packed_batch_has_no_effect_and_makes_no_nan(folders: dict[str, Path], runtime: Any) -> None:
    backbone = load(folders["llama"], runtime, "sdpa", torch.float64)
    packed = pack_rows(documents(), 13)
    batch = collate(packed, backbone.pad_id)
    assert not batch.mask.all()
    hidden = backbone.hidden(batch.ids, batch.mask, documents=batch.documents)
    assert hidden.isfinite().all()
    other = batch.ids.masked_fill(~batch.mask, 99)
    again = backbone.hidden(other, batch.mask, documents=batch.documents)
    assert torch.equal(hidden[batch.mask], again[batch.mask])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures_that_keep_documents_apart_pass(
    folders: dict[str, Path], runtime: Any, architecture: str
) -> None:
    check_documents(load(folders[architecture], runtime, "sdpa"), 60)


def test_a_recurrent_model_is_refused(tokenizer: Any, runtime: Any) -> None:
    library = transformers_library()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = library.MambaConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4, **ids)
    with pytest.raises(ModelError, match="MambaForCausalLM takes no positions, so documents cannot be packed"):
        check_documents(Backbone(library.MambaForCausalLM(config), tokenizer), 16)


def test_relative_biases_are_refused(tokenizer: Any) -> None:
    library = transformers_library()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = library.BloomConfig(vocab_size=len(tokenizer), hidden_size=32, n_layer=1, n_head=2, **ids)
    with pytest.raises(ModelError, match="BloomForCausalLM"):
        check_documents(Backbone(library.BloomForCausalLM(config), tokenizer), 16)


def test_a_model_that_ignores_documents_is_found(
    folders: dict[str, Path], runtime: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = load(folders["llama"], runtime, "sdpa")
    forward = backbone.trunk.forward
    monkeypatch.setattr(
        backbone.trunk, "forward", lambda **given: forward(**(given | {"attention_mask": None, "position_ids": None}))
    )
    with pytest.raises(ModelError, match="lets packed documents see each other"):
        check_documents(backbone, 60)


def test_a_window_shorter_than_the_row_is_refused(tokenizer: Any) -> None:
    library = transformers_library()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = library.MistralConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=48, sliding_window=16, max_position_embeddings=64, **ids,
    )  # fmt: skip
    backbone = Backbone(library.MistralForCausalLM(config), copy.deepcopy(tokenizer))
    check_documents(backbone, 16)
    with pytest.raises(ModelError, match="attends over a window of 16 tokens"):
        check_documents(backbone, 17)
