from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_config

from tuningfork.errors import ModelError
from tuningfork.model.adapters import add_lora
from tuningfork.model.hub import transformers_library
from tuningfork.model.layers import chosen_layers, decoder_layers, final_norm, find_targets
from tuningfork.model.settings import Lora
from tuningfork.model.tree import count_parameters, parameter_tree


def empty_model(architecture: str) -> torch.nn.Module:
    with torch.device("meta"):
        return transformers_library().AutoModelForCausalLM.from_config(tiny_config(architecture, 300))


@pytest.mark.parametrize(
    "architecture, targets, expected",
    [
        ("llama", ("q", "v"), ["self_attn.q_proj", "self_attn.v_proj"]),
        ("llama", ("attention",), [f"self_attn.{x}_proj" for x in "qkvo"]),
        ("llama", ("mlp",), ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]),
        ("opt", ("q", "k", "v", "o"), [f"self_attn.{x}" for x in ("k_proj", "v_proj", "q_proj", "out_proj")]),
        ("opt", ("fc1",), ["fc1"]),
        ("gpt2", ("attention",), ["attn.c_attn", "attn.c_proj"]),  # not mlp.c_proj
        ("gpt2", ("o",), ["attn.c_proj"]),
        ("gpt2", ("c_proj",), ["attn.c_proj", "mlp.c_proj"]),  # a module name means every module of that name
        ("gpt2", ("all",), ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]),
        ("gpt_neox", ("attention",), ["attention.query_key_value", "attention.dense"]),
        ("gpt_neox", ("mlp",), ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"]),
    ],
)
def test_names_find_each_architectures_matrices(
    architecture: str, targets: tuple[str, ...], expected: list[str]
) -> None:
    model = empty_model(architecture)
    prefix, _ = decoder_layers(model)
    found = find_targets(model, targets, last_layers=1).modules
    assert list(found) == [f"{prefix}.2.{name}" for name in expected]


def test_fused_matrices_are_explained() -> None:
    assert "one matrix" in find_targets(empty_model("gpt2"), ("q", "v"), None).notes[0]
    assert find_targets(empty_model("gpt2"), ("attention",), None).notes == ()
    assert find_targets(empty_model("llama"), ("q", "v"), None).notes == ()


def test_a_name_that_hits_nothing_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ModelError, match="did you mean q_proj"):
        find_targets(empty_model("opt"), ("q_porj",), None)
    with pytest.raises(ModelError, match="matches no matrix"):
        find_targets(empty_model("opt"), ("zzz",), None)


def test_more_layers_than_there_are_is_refused() -> None:
    model = empty_model("llama")
    assert list(chosen_layers(model, 2)) == [1, 2] and list(chosen_layers(model, None)) == [0, 1, 2]
    with pytest.raises(ModelError, match="only 3 layers"):
        chosen_layers(model, 4)


@pytest.mark.parametrize(
    "architecture, name",
    [
        ("llama", "model.norm"),
        ("opt", "model.decoder.final_layer_norm"),
        ("gpt2", "transformer.ln_f"),
        ("gpt_neox", "gpt_neox.final_layer_norm"),
    ],
)
def test_the_final_norm_is_found(architecture: str, name: str) -> None:
    model = empty_model(architecture)
    assert final_norm(model) is model.get_submodule(name)


def test_the_published_opt_figures() -> None:
    """OPT-1.3B, r = 8 on q, k, v, out of the last two layers: 2 * 4 * 8 * (2048 + 2048) of 1,315,758,080 + that."""
    library = transformers_library()
    config = library.OPTConfig(
        vocab_size=50272, hidden_size=2048, num_hidden_layers=24, ffn_dim=8192, num_attention_heads=32,
        word_embed_proj_dim=2048,
    )  # fmt: skip
    with torch.device("meta"):
        model = library.AutoModelForCausalLM.from_config(config)
        add_lora(model, Lora(r=8, targets=("q", "k", "v", "o"), last_layers=2), seed=0)
    counts = count_parameters(model)
    assert (counts.trainable, counts.total) == (262_144, 1_316_020_224)
    tree = parameter_tree(model).splitlines()
    assert tree[-1] == "trainable 262,144 of 1,316,020,224 parameters, 0.0199%"
    assert any(line.startswith("model.decoder.layers.0-21.fc1.weight ") and "8,192 x 2,048" in line for line in tree)
    assert sum(line.endswith("*") for line in tree) == 8  # A and B of four matrices; the two layers share their lines
    assert any(line.startswith("lm_head.weight") and line.endswith("tied") for line in tree)


def test_the_tree_lists_heads_and_counts_shared_parameters_once() -> None:
    model = empty_model("llama").requires_grad_(False)
    head = torch.nn.Linear(32, 1)
    tree = parameter_tree(model, value=head)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert "value.weight" in tree and tree.endswith(
        f"trainable 33 of {total + 33:,} parameters, {33 / (total + 33):.4%}"
    )
    assert count_parameters(model, model).total == total


def test_layers_that_differ_are_not_folded() -> None:
    model = empty_model("llama").requires_grad_(False)
    decoder_layers(model)[1][2].requires_grad_(True)
    tree = parameter_tree(model)
    assert "layers.0-1.mlp" in tree and "layers.2.mlp" in tree and "layers.0-2" not in tree


def test_settings_do_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, tuningfork.model.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0


def test_the_head_is_a_target_of_its_own(tokenizer: Any) -> None:
    from tuningfork.model.scratch import new_model
    from tuningfork.model.settings import ScratchSettings

    small = ScratchSettings(layers=2, width=16, heads=2, feed_forward=24, context=32, vocabulary=320)
    model = new_model(small, tokenizer, seed=0)
    assert find_targets(model, ["head"], None).modules == ("lm_head",)
    assert find_targets(model, ["head", "q"], 1).modules == ("lm_head", "model.layers.1.self_attn.q_proj")
    tied = new_model(small.model_copy(update={"tied": True}), tokenizer, seed=0)
    with pytest.raises(ModelError, match="is its embedding matrix"):
        find_targets(tied, ["head"], None)
