"""What is saved is what was trained, and others can read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import ARCHITECTURES, gpt2_like_tokenizer, perturb
from torch import Tensor

from tuningfork.errors import ModelError
from tuningfork.model.heads import ValueHead
from tuningfork.model.hub import transformers_library
from tuningfork.model.loading import load_backbone
from tuningfork.model.saving import save_backbone, verify_saved
from tuningfork.model.settings import ChatSettings, Full, Lora, Unfreeze
from tuningfork.runtime import Runtime

Batch = tuple[Tensor, Tensor]


def logits_of(backbone: Any, batch: Batch) -> Tensor:
    return backbone.lm_head(backbone.hidden(*batch))[batch[1]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_and_adapter_both_give_the_trained_model(
    architecture: str, folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids, mask = batch
    backbone = load_backbone(folders[architecture], runtime, adapter=Lora(r=4, last_layers=2))
    perturb(backbone.trainable_parameters())
    trained = logits_of(backbone, batch)
    backbone.save(tmp_path)
    assert torch.equal(logits_of(backbone, batch), trained)  # saving leaves the live model alone
    merged = AutoModelForCausalLM.from_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(folders[architecture])
    adapted: Any = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))
    for other in (merged, adapted):
        logits = other.eval()(input_ids=ids, attention_mask=mask.long()).logits[mask]
        torch.testing.assert_close(logits, trained, rtol=0, atol=1e-5)


def test_fully_trained_weights_come_back_to_the_bit(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    backbone = load_backbone(folders["opt"], runtime, adapter=Full())
    backbone.keep_reference()
    perturb(backbone.trainable_parameters())
    trained = logits_of(backbone, batch)
    with backbone.reference():  # the policy is what is saved, whatever role is set
        backbone.save(tmp_path)
    assert torch.equal(logits_of(load_backbone(tmp_path, runtime), batch), trained)
    assert not (tmp_path / "adapter").exists()


def test_the_next_stage_starts_from_the_merged_model(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    """The reference of a second stage holds the first stage's adapter: only its own is switched off."""
    first = load_backbone(folders["llama"], runtime, adapter=Lora(last_layers=2))
    perturb(first.trainable_parameters())
    first.save(tmp_path / "one")
    started = logits_of(load_backbone(tmp_path / "one", runtime), batch)
    second = load_backbone(tmp_path / "one", runtime, adapter=Lora(last_layers=1))
    perturb(second.trainable_parameters())
    with second.reference():
        assert torch.equal(logits_of(second, batch), started)
    torch.testing.assert_close(started, logits_of(first, batch), rtol=0, atol=1e-5)


def test_an_adapter_folder_alone_is_loaded_with_its_base(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    backbone = load_backbone(folders["gpt2"], runtime, adapter=Lora(last_layers=2))
    perturb(backbone.trainable_parameters())
    backbone.save(tmp_path)
    loaded = load_backbone(tmp_path / "adapter", runtime)
    torch.testing.assert_close(logits_of(loaded, batch), logits_of(backbone, batch), rtol=0, atol=1e-5)


def test_a_folder_holds_what_others_need(folders: dict[str, Path], runtime: Runtime, tmp_path: Path) -> None:
    backbone = load_backbone(folders["llama"], runtime, adapter=Lora(last_layers=1))
    backbone.save(tmp_path)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
    }  # fmt: skip
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == ([2, 4], 0)
    assert not any(".lora_" in name or "base_layer" in name for name in load_file(tmp_path / "model.safetensors"))
    targets = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)


def test_an_adapters_bytes_do_not_depend_on_the_process(
    folders: dict[str, Path], runtime: Runtime, tmp_path: Path
) -> None:
    """Artifacts are found by content, and peft keeps targets in a set, whose order changes from process to process."""
    contents = []
    for order in (sorted, lambda names: sorted(names, reverse=True)):
        backbone = load_backbone(folders["llama"], runtime, adapter=Lora(last_layers=1))
        assert backbone.peft is not None
        config: Any = backbone.peft.peft_config["default"]
        config.target_modules = order(config.target_modules)
        backbone.save(tmp_path, verify=False)
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_a_damaged_save_is_noticed(folders: dict[str, Path], runtime: Runtime, tmp_path: Path) -> None:
    backbone = load_backbone(folders["llama"], runtime)
    save_backbone(backbone, tmp_path)
    verify_saved(backbone, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"] *= 1.01
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="differs from the trained one"):
        verify_saved(backbone, tmp_path)


@pytest.mark.parametrize("kind", ["mlp", "linear"])
def test_value_heads_start_at_zero_learn_and_come_back(kind: Any, tmp_path: Path) -> None:
    head = ValueHead(16, kind, seed=3)
    hidden = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(head(hidden), torch.zeros(2, 5))
    (head(hidden) - 1).pow(2).mean().backward()
    assert head.out.weight.grad is not None and head.out.weight.grad.abs().sum() > 0
    perturb(list(head.parameters()))
    head.save(tmp_path)
    loaded = ValueHead.load(tmp_path)
    assert loaded.kind == kind and torch.equal(loaded(hidden), head(hidden))
    if kind == "mlp":
        assert head.inner is not None and head.inner.weight.shape == (32, 16)
        expected = (hidden @ head.inner.weight.T + head.inner.bias).clamp(min=0) @ head.out.weight[0] + head.out.bias
        torch.testing.assert_close(head(hidden), expected)


def test_values_are_fp32_whatever_the_trunk_computes_in() -> None:
    head = ValueHead(16, seed=0)
    perturb(head.parameters())
    hidden = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        values = head(hidden)
    assert values.dtype == torch.float32 and torch.equal(values, head(hidden.float()))


def test_a_missing_value_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no value head"):
        ValueHead.load(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_new_tokens_train_under_lora_and_are_kept(runtime: Any, tmp_path: Path, tied: bool) -> None:
    """GPT-2's tokenizer has no turn markers: they are added, their rows train, and both saved forms keep them."""
    library = transformers_library()
    tokenizer = gpt2_like_tokenizer()
    torch.manual_seed(3)
    config = library.GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=64, tie_word_embeddings=tied
    )
    library.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    chat = ChatSettings(template="chatml")
    backbone = load_backbone(tmp_path / "base", runtime, adapter=Lora(r=2), chat=chat)
    markers: list[int] = [backbone.tokenizer.get_vocab()[token] for token in ("<|im_start|>", "<|im_end|>")]
    assert markers[1] in backbone.stop_ids and max(markers) < backbone.vocabulary_size
    named = {name: p for name, p in backbone.model.named_parameters() if p.requires_grad and "lora" not in name}
    assert [tuple(p.shape) for p in named.values()] == [(2, 32)] * (1 if tied else 2)
    ids = torch.tensor([[*markers, 5, 6, *markers]])
    mask = torch.ones_like(ids, dtype=torch.bool)

    def logits(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model.lm_head(model.hidden(ids, mask))

    untrained = logits(backbone)
    backbone.lm_head(backbone.hidden(ids, mask)).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().min(1).values.max() > 0 for p in named.values())
    backbone.model.zero_grad()
    perturb(backbone.trainable_parameters())
    trained = logits(backbone)
    assert (trained - untrained)[..., markers].abs().max() > 0.01
    with backbone.reference():
        assert torch.equal(logits(backbone), untrained)
    assert torch.equal(logits(backbone), trained)
    backbone.save(tmp_path / "saved")
    again = load_backbone(tmp_path / "saved", runtime)
    assert torch.allclose(logits(again), trained, atol=1e-5)
    assert again.tokenizer.convert_tokens_to_ids("<|im_end|>") == markers[1] and markers[1] in again.stop_ids
    adapted = load_backbone(tmp_path / "saved" / "adapter", runtime)
    assert torch.allclose(logits(adapted), trained, atol=1e-5)


def test_new_tokens_that_would_stay_untrained_are_refused(folders: dict[str, Path], runtime: Any) -> None:
    chat = ChatSettings(template="chatml")
    with pytest.raises(ModelError, match="leave the rows of new tokens untrained"):
        load_backbone(folders["llama"], runtime, adapter=Unfreeze(last_layers=1), chat=chat)
    with pytest.raises(ModelError, match="has lm_head as a target"):
        load_backbone(folders["llama"], runtime, adapter=Lora(targets=("attention", "head")), chat=chat)
    with pytest.raises(ModelError, match="<turn> is no control token"):
        load_backbone(folders["llama"], runtime, adapter=Lora(tokens=("<turn>",)))
    with pytest.raises(ModelError, match=r"chat\.date has no effect"):
        load_backbone(folders["llama"], runtime, chat=ChatSettings(date="1 Jan 2025"))
