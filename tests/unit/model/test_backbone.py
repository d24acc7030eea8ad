"""Hidden states, roles and what trains, on Llama (grouped queries), OPT (projected output), GPT-2 (fused, transposed)
and GPT-NeoX (fused)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import ARCHITECTURES, gpt2_like_tokenizer, perturb, shifted_left, tiny_config
from torch import Tensor

from tuningfork.errors import ModelError
from tuningfork.model.backbone import Backbone, position_ids
from tuningfork.model.hub import transformers_library
from tuningfork.model.loading import load_backbone
from tuningfork.model.settings import Full, Lora, Unfreeze
from tuningfork.runtime import Runtime

Batch = tuple[Tensor, Tensor]
LAST_TWO = Lora(r=4, last_layers=2)


@pytest.fixture(params=ARCHITECTURES)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


def test_hidden_and_head_apart_equal_the_whole_model(folder: Path, runtime: Runtime, batch: Batch) -> None:
    from transformers import AutoModelForCausalLM

    ids, mask = batch
    backbone = load_backbone(folder, runtime)
    hidden = backbone.hidden(ids, mask)
    assert hidden.shape == (3, 9, backbone.hidden_size)
    whole = AutoModelForCausalLM.from_pretrained(folder)(input_ids=ids, attention_mask=mask.long()).logits
    torch.testing.assert_close(backbone.lm_head(hidden)[mask], whole[mask], rtol=0, atol=1e-5)


def test_padding_on_either_side_changes_nothing(folder: Path, runtime: Runtime, batch: Batch) -> None:
    ids, mask = batch
    backbone = load_backbone(folder, runtime)
    right = backbone.hidden(ids, mask)
    left_ids, left_mask = shifted_left(ids, mask)
    left = backbone.hidden(left_ids, left_mask)
    alone = torch.cat(
        [backbone.hidden(row[None, :n], torch.ones(1, n, dtype=torch.bool))[0] for row, n in _rows(batch)]
    )
    torch.testing.assert_close(right[mask], alone, rtol=0, atol=1e-4)
    torch.testing.assert_close(left[left_mask], alone, rtol=0, atol=1e-4)
    assert not left.isnan().any()


def test_ids_in_the_padding_do_not_matter_even_outside_the_table(folder: Path, runtime: Runtime, batch: Batch) -> None:
    ids, mask = batch
    backbone = load_backbone(folder, runtime)
    other = ids.masked_fill(~mask, 10**6)
    assert torch.equal(backbone.hidden(ids, mask), backbone.hidden(other, mask))


def test_padding_gets_no_gradient(folder: Path, runtime: Runtime, batch: Batch) -> None:
    ids, mask = shifted_left(*batch)
    backbone = load_backbone(folder, runtime, adapter=Full())
    backbone.hidden(ids, mask)[mask].pow(2).sum().backward()
    gradients = [p.grad for p in backbone.trainable_parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


def test_cached_decoding_equals_one_forward(folder: Path, runtime: Runtime, batch: Batch) -> None:
    ids, mask = shifted_left(*batch)
    backbone = load_backbone(folder, runtime)
    expected = backbone.hidden(ids, mask)
    parts, cache = [], None
    for start, stop in [(0, 6), (6, 7), (7, 8), (8, 11)]:
        part, cache = backbone.forward_cached(ids[:, start:stop], mask[:, :stop], cache=cache)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1)[mask], expected[mask], rtol=0, atol=1e-5)


def test_cache_rows_can_be_dropped_and_repeated(folder: Path, runtime: Runtime, batch: Batch) -> None:
    ids, mask = shifted_left(*batch)
    backbone = load_backbone(folder, runtime)
    expected = backbone.hidden(ids, mask)[:, -1]
    _, cache = backbone.forward_cached(ids[:, :-1], mask[:, :-1])
    rows = torch.tensor([2, 0])
    cache.batch_select_indices(rows)  # pyright: ignore[reportAttributeAccessIssue]
    cache.batch_repeat_interleave(2)  # pyright: ignore[reportAttributeAccessIssue]
    rows = rows.repeat_interleave(2)
    last, _ = backbone.forward_cached(ids[rows, -1:], mask[rows], cache=cache)
    torch.testing.assert_close(last[:, 0], expected[rows], rtol=0, atol=1e-5)


def test_dropout_is_off_even_in_train_mode(folder: Path, runtime: Runtime, batch: Batch) -> None:
    backbone = load_backbone(folder, runtime)
    quiet = backbone.hidden(*batch)
    backbone.model.train()
    assert torch.equal(backbone.hidden(*batch), quiet)
    rates = {k: v for k, v in backbone.model.config.to_dict().items() if "drop" in k and isinstance(v, float)}
    assert rates and not any(rates.values())


def test_a_fresh_lora_changes_no_bit(folder: Path, runtime: Runtime, batch: Batch) -> None:
    plain = load_backbone(folder, runtime).hidden(*batch)
    assert torch.equal(load_backbone(folder, runtime, adapter=LAST_TWO).hidden(*batch), plain)


def test_only_the_adapters_of_the_last_layers_train(folder: Path, runtime: Runtime) -> None:
    backbone = load_backbone(folder, runtime, adapter=LAST_TWO)
    names = [name for name, parameter in backbone.model.named_parameters() if parameter.requires_grad]
    assert names and all(".lora_A." in name or ".lora_B." in name for name in names)
    assert {part for name in names for part in name.split(".") if part.isdigit()} == {"1", "2"}


@pytest.mark.parametrize(
    "architecture, expected",
    [
        # r(d_in + d_out) each, d = 32, r = 4, two layers
        ("llama", 2 * 4 * (64 + 48 + 48 + 64)),  # k and v have half as many heads
        ("opt", 2 * 4 * 4 * 64),
        ("gpt2", 2 * 4 * (32 + 96 + 64)),  # fused d -> 3d, then the output projection
        ("gpt_neox", 2 * 4 * (32 + 96 + 64)),
    ],
)
def test_lora_size_follows_the_formula(
    architecture: str, expected: int, folders: dict[str, Path], runtime: Runtime
) -> None:
    backbone = load_backbone(folders[architecture], runtime, adapter=LAST_TWO)
    assert sum(parameter.numel() for parameter in backbone.trainable_parameters()) == expected


def test_lora_draws_depend_on_the_seed_only(folders: dict[str, Path], runtime: Runtime) -> None:
    def draws(seed: int) -> Tensor:
        backbone = load_backbone(folders["llama"], runtime, adapter=LAST_TWO, seed=seed)
        return torch.cat([parameter.flatten() for parameter in backbone.trainable_parameters()])

    assert torch.equal(draws(1), draws(1))
    assert not torch.equal(draws(1), draws(2))


@pytest.mark.parametrize("adapter", [LAST_TWO, Unfreeze(last_layers=1), Full()], ids=lambda a: a.kind)
def test_the_reference_is_what_was_loaded_to_the_bit(
    adapter: Lora | Unfreeze | Full, folder: Path, runtime: Runtime, batch: Batch
) -> None:
    loaded = logits_of(load_backbone(folder, runtime), batch)
    backbone = load_backbone(folder, runtime, adapter=adapter)
    cost = backbone.keep_reference()
    perturb(backbone.trainable_parameters())
    policy = logits_of(backbone, batch)
    assert not torch.allclose(policy, loaded, atol=1e-3)
    with backbone.reference():
        inside = logits_of(backbone, batch)
        with backbone.role("policy"):
            assert torch.equal(logits_of(backbone, batch), policy)
        assert torch.equal(logits_of(backbone, batch), loaded)
    assert torch.equal(inside, loaded) and not inside.requires_grad
    assert torch.equal(logits_of(backbone, batch), policy)
    trained = sum(parameter.numel() * 4 for parameter in backbone.trainable_parameters())
    assert cost == (0 if isinstance(adapter, Lora) else trained)


@pytest.mark.parametrize("adapter", [LAST_TWO, Unfreeze(last_layers=1)], ids=lambda a: a.kind)
def test_a_training_step_moves_the_chosen_parameters_and_no_others(
    adapter: Lora | Unfreeze, folder: Path, runtime: Runtime, batch: Batch
) -> None:
    backbone = load_backbone(folder, runtime, adapter=adapter)
    backbone.keep_reference()
    before = {name: parameter.detach().clone() for name, parameter in backbone.model.named_parameters()}
    chosen = {name for name, parameter in backbone.model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.SGD(backbone.trainable_parameters(), lr=0.1)
    for _ in range(2):  # the first step moves B only, for B was zero
        hidden = backbone.hidden(*batch)
        backbone.hidden(*batch, role="reference")  # a reference pass between forward and backward is harmless
        backbone.lm_head(hidden)[batch[1]].pow(2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    after = dict(backbone.model.named_parameters())
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved <= chosen
    assert {name for name in chosen if ".lora_" in name or name.endswith("weight")} <= moved


def test_a_reference_that_was_not_kept_is_our_mistake(folders: dict[str, Path], runtime: Runtime, batch: Batch) -> None:
    backbone = load_backbone(folders["llama"], runtime, adapter=Full())
    with pytest.raises(AssertionError, match="keep_reference"):
        backbone.hidden(*batch, role="reference")


def test_reference_states_with_the_policys_output_matrix_are_our_mistake(
    folders: dict[str, Path], runtime: Runtime, batch: Batch
) -> None:
    backbone = load_backbone(folders["llama"], runtime, adapter=Full())
    backbone.keep_reference()
    with pytest.raises(AssertionError, match="another output matrix"):
        backbone.hidden(*batch, role="reference")
    frozen_head = load_backbone(folders["llama"], runtime, adapter=Unfreeze(last_layers=1))
    frozen_head.keep_reference()
    assert torch.equal(frozen_head.hidden(*batch, role="reference"), frozen_head.hidden(*batch))


def test_unknown_roles_and_second_adapters_are_refused(
    folders: dict[str, Path], runtime: Runtime, batch: Batch
) -> None:
    backbone = load_backbone(folders["llama"], runtime, adapter=LAST_TWO)
    with pytest.raises(ModelError, match="role reward"):
        backbone.hidden(*batch, role="reward")
    with pytest.raises(ModelError, match="already has an adapter"):
        backbone.add_adapter(LAST_TWO)


def test_positions_count_real_tokens() -> None:
    mask = torch.tensor([[False, False, True, True], [True, True, True, False]])
    assert position_ids(mask).tolist() == [[0, 0, 0, 1], [0, 1, 2, 2]]


def test_gpt2_without_a_pad_gets_a_row_for_one_and_says_so(tmp_path: Path, runtime: Runtime) -> None:
    """GPT-2 as published has one special token, which begins and ends documents; it must not pad as well."""
    tokenizer = gpt2_like_tokenizer()
    size = len(tokenizer)
    transformers_library().GPT2LMHeadModel(tiny_config("gpt2", size)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path, runtime)
    assert (backbone.pad_id, backbone.vocabulary_size) == (size, size + 1)
    assert backbone.pad_id not in backbone.stop_ids and backbone.eos_id in backbone.stop_ids
    assert "no pad token" in backbone.notes[0] and f"from {size} to {size + 1}" in backbone.notes[1]
    backbone.save(tmp_path / "again")
    assert load_backbone(tmp_path / "again", runtime).notes == []


def test_new_rows_are_the_mean_of_the_old_and_change_no_other_logit(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tokenizer: Any
) -> None:
    plain = load_backbone(folders["llama"], runtime)
    before = plain.lm_head(plain.hidden(*batch))
    tokenizer.add_special_tokens({"pad_token": "<|new pad|>"})
    model = load_backbone(folders["llama"], runtime).model
    table: Any = model.get_input_embeddings()
    old = table.weight.detach().clone()
    grown = Backbone(model, tokenizer)
    after = grown.lm_head(grown.hidden(*batch))
    assert after.shape[-1] == before.shape[-1] + 1
    torch.testing.assert_close(after[..., :-1], before, rtol=0, atol=1e-6)
    table = grown.model.get_input_embeddings()
    torch.testing.assert_close(table.weight[-1], old.mean(0))
    assert any("grew from" in note for note in grown.notes)


def logits_of(backbone: Backbone, batch: Batch) -> Tensor:
    return backbone.lm_head(backbone.hidden(*batch))


def _rows(batch: Batch) -> list[tuple[Tensor, int]]:
    ids, mask = batch
    return list(zip(ids, mask.sum(1).tolist(), strict=True))
