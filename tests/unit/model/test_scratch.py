from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from tuningfork.model.loading import new_backbone
from tuningfork.model.scratch import new_model
from tuningfork.model.settings import AdapterSettings, Lora, ModelSource, ScratchModel, ScratchSettings
from tuningfork.runtime import Runtime

SMALL = ScratchSettings(layers=2, width=32, heads=4, feed_forward=48, context=64)


def test_equal_seeds_give_equal_weights_whatever_was_drawn_before(tokenizer: Any) -> None:
    first = new_model(SMALL, tokenizer, seed=1).state_dict()
    torch.rand(5)
    second, other = new_model(SMALL, tokenizer, seed=1).state_dict(), new_model(SMALL, tokenizer, seed=2).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])


def test_creating_a_model_leaves_the_global_generator_alone(tokenizer: Any) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    new_model(SMALL, tokenizer, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_weights_have_the_spread_asked_for(tokenizer: Any) -> None:
    model = new_model(SMALL.model_copy(update={"width": 128, "initializer_range": 0.05}), tokenizer, seed=0)
    weights = dict(model.named_parameters())
    for name, weight in weights.items():
        if weight.dim() == 2:
            assert weight.std().item() == pytest.approx(0.05, rel=0.05), name
    assert not torch.equal(weights["model.layers.0.mlp.up_proj.weight"], weights["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(weights["model.norm.weight"], torch.ones(128))


def test_parameter_count_follows_from_the_settings(tokenizer: Any) -> None:
    """Per layer q, o: d*d; k, v: d*d/2 (half as many heads); gate, up, down: 3*d*f; two norms; then final norm."""
    settings = SMALL.model_copy(update={"kv_heads": 2})
    layer = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32
    untied, tied = (
        sum(p.numel() for p in new_model(settings.model_copy(update={"tied": tied}), tokenizer, 0).parameters())
        for tied in (False, True)
    )
    assert untied == 2 * layer + 32 + 2 * 32 * len(tokenizer)
    assert tied == untied - 32 * len(tokenizer)


def test_new_backbone_trains_everything_and_knows_its_context(tokenizer: Any, runtime: Runtime) -> None:
    backbone = new_backbone(SMALL, tokenizer, 0, runtime)
    assert backbone.max_length == 64
    assert backbone.stop_ids == (2, 4) and backbone.start_ids == [1] and backbone.pad_id == 0
    assert len(backbone.trainable_parameters()) == len(list(backbone.model.parameters()))


@pytest.mark.parametrize("values", [{"width": 33}, {"width": 12, "heads": 4}, {"heads": 4, "kv_heads": 3}])
def test_impossible_shapes_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="must be"):
        ScratchSettings(**values)


def test_settings_choose_by_kind_and_refuse_options_without_effect() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AdapterSettings)
    assert adapter.validate_python({"kind": "lora", "last_layers": 2}) == Lora(last_layers=2)
    with pytest.raises(ValidationError, match="Extra inputs"):
        adapter.validate_python({"kind": "full", "r": 8})
    source: TypeAdapter[Any] = TypeAdapter(ModelSource)
    assert isinstance(source.validate_python({"scratch": {"layers": 2}}), ScratchModel)
    assert source.validate_python("gpt2") == "gpt2"
