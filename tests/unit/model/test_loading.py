"""Every way in which a model folder can be wrong gives one short ModelError that names it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_config

from tuningfork.errors import ModelError
from tuningfork.model.hub import transformers_library
from tuningfork.model.loading import load_backbone
from tuningfork.runtime import Runtime


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders["llama"], tmp_path / "model"))


def refused(source: Any, runtime: Runtime) -> str:
    with pytest.raises(ModelError) as caught:
        load_backbone(source, runtime)
    text = str(caught.value)
    assert len(text) < 400 and "\n" not in text
    return text


def test_a_path_that_is_not_there(runtime: Runtime, tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere", runtime)
    assert "does not exist" in refused("./nowhere", runtime)
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused(tmp_path / "file", runtime)


def test_no_config(folder: Path, runtime: Runtime) -> None:
    (folder / "config.json").unlink()
    assert "no config.json" in refused(folder, runtime)


def test_a_config_that_is_not_json(folder: Path, runtime: Runtime) -> None:
    (folder / "config.json").write_text("{")
    assert "not valid JSON" in refused(folder, runtime)


def test_no_weights(folder: Path, runtime: Runtime) -> None:
    (folder / "model.safetensors").unlink()
    assert "no weights (model.safetensors is missing)" in refused(folder, runtime)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02")
    assert "pickled" in refused(folder, runtime)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_an_interrupted_download(kept: int, folder: Path, runtime: Runtime) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    assert "interrupted download" in refused(folder, runtime)


def test_a_missing_shard(folder: Path, runtime: Runtime) -> None:
    transformers_library().AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="40KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert load_backbone(folder, runtime).hidden_size == 32
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert f"{shard.name} is missing" in refused(folder, runtime)


def test_weights_that_are_not_safetensors(folder: Path, runtime: Runtime) -> None:
    (folder / "model.safetensors").write_bytes((3).to_bytes(8, "little") + b"abc" + b"0" * 50)
    assert "not a safetensors file" in refused(folder, runtime)


def test_a_weight_that_was_not_saved(folder: Path, runtime: Runtime) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "lacks the weight lm_head.weight" in refused(folder, runtime)


def test_no_tokenizer(folder: Path, runtime: Runtime) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert "no tokenizer" in refused(folder, runtime)


def test_an_encoder_decoder_and_an_encoder_are_refused_by_name(folder: Path, runtime: Runtime) -> None:
    library = transformers_library()
    library.T5Config(architectures=["T5ForConditionalGeneration"]).save_pretrained(folder)
    assert "encoder-decoder (T5ForConditionalGeneration)" in refused(folder, runtime)
    library.BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(folder)
    assert "BertForMaskedLM" in refused(folder, runtime)


def test_remote_code_is_not_run(folder: Path, runtime: Runtime) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "their-own",
        "auto_map": {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text("raise SystemExit('was run')")
    assert "remote code is never run" in refused(folder, runtime)


def test_a_hub_id_without_a_network(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    text = refused("nobody/no-such-model", runtime)
    assert "nobody/no-such-model" in text and "network" in text


def test_an_adapter_without_its_base(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "no weights" in refused(tmp_path, runtime)


def test_an_architecture_that_changes_its_logits(
    folder: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama = type(transformers_library().LlamaForCausalLM(tiny_config("llama", 30)))
    forward = llama.forward

    def scaled(self: Any, *arguments: Any, **options: Any) -> Any:
        output = forward(self, *arguments, **options)
        output.logits = output.logits * 2
        return output

    monkeypatch.setattr(llama, "forward", scaled)
    assert "changes its logits" in refused(folder, runtime)


@pytest.mark.parametrize(
    "name, value", [("logit_scale", 0.25), ("logits_scaling", 8.0), ("final_logit_softcapping", 3.0)]
)
def test_known_changes_of_logits_are_followed(name: str, value: float, runtime: Runtime, tokenizer: Any) -> None:
    """Cohere multiplies, Granite divides, Gemma 2 caps."""
    library = transformers_library()
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64, "head_dim": 8,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    kinds = {"logit_scale": "Cohere", "logits_scaling": "Granite", "final_logit_softcapping": "Gemma2"}
    kind = kinds[name]
    config = getattr(library, f"{kind}Config")(**shape, **{name: value})
    torch.manual_seed(0)
    model = getattr(library, f"{kind}ForCausalLM")(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(20)
    from tuningfork.model.backbone import Backbone

    backbone = Backbone(model, tokenizer)
    ids = torch.arange(21, 30)[None]
    apart = backbone.lm_head(backbone.hidden(ids, torch.ones_like(ids, dtype=torch.bool)))
    torch.testing.assert_close(apart, model(input_ids=ids).logits)
