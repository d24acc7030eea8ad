"""The door to transformers: imported late and made quiet, folders checked before they are loaded, errors made short.

Left out on purpose: remote code, pickled weights, encoder-decoders.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tuningfork.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer_config.json",
)


@functools.cache
def transformers_library() -> Any:
    """The transformers module, without its progress bars and advice. Importing it costs a second or two."""
    import huggingface_hub
    import transformers

    huggingface_hub.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    return transformers


def local_folder(source: str | Path) -> Path | None:
    """The folder that `source` names, or None for a hub id. ModelError for a path that is not there."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(f"{source} is a file; a model is a folder with config.json and model.safetensors")
    text = str(source)
    if isinstance(source, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or not text.strip():
        raise ModelError(f"model folder {source} does not exist")
    return None


def check_folder(folder: Path) -> None:
    """Raise ModelError for a folder that cannot be loaded: no config, no weights, half-downloaded, no tokenizer."""
    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder} has no config.json: not a model folder of transformers")
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{config} is not valid JSON ({error}); download the model again") from error
    check_weights(folder)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise ModelError(
            f"{folder} has no tokenizer (tokenizer.json is missing); save the tokenizer into the model folder"
        )


def check_weights(folder: Path, name: str = "model") -> None:
    """Raise ModelError unless every safetensors file of `folder` is there and has its full length."""
    index = folder / f"{name}.safetensors.index.json"
    if index.is_file():
        files = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        files = [f"{name}.safetensors"]
    for file in files:
        path = folder / file
        if path.is_file():
            _check_safetensors(path)
        elif len(files) > 1:
            raise ModelError(f"{path} is missing: an interrupted download; download the model again")
        elif any(folder.glob("pytorch_model*.bin")):
            raise ModelError(
                f"{folder} has only pickled weights (pytorch_model.bin), which are never read; convert to safetensors"
            )
        else:
            raise ModelError(f"{folder} has no weights ({file} is missing)")


def _check_safetensors(path: Path) -> None:
    """Compare the file's length with its header: 8 bytes of length, JSON with offsets, then the data."""
    size = path.stat().st_size
    broken = ModelError(f"{path} is cut off ({size} bytes): an interrupted download; download the model again")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length + 8 > size:
            raise broken
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(f"{path} is not a safetensors file") from error
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise broken


def load_config(source: str | Path) -> PretrainedConfig:
    """The configuration of a model; ModelError when it is not there or asks for code of its own."""
    return _guarded(
        source, lambda name: transformers_library().AutoConfig.from_pretrained(name, trust_remote_code=False)
    )


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model."""
    return _guarded(
        source, lambda name: transformers_library().AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    )


def load_weights(source: str | Path, auto_class: str, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    """A model of `auto_class` (`AutoModelForCausalLM` ...) with every weight found on disk.

    ModelError when a weight is missing: transformers would fill it with random numbers and only warn.
    """
    factory = getattr(transformers_library(), auto_class)
    model, info = _guarded(
        source,
        lambda name: factory.from_pretrained(
            name, trust_remote_code=False, use_safetensors=True, dtype=dtype, output_loading_info=True, **options
        ),
    )
    missing = sorted(info["missing_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(f"{source} lacks the weight {missing[0]}{more}: it was not saved as {type(model).__name__}")
    for parameter in model.parameters():
        # out of the mapped file: matrix products round by the alignment of their operands, which differs from file to
        # file, and a file may be replaced while the model is in use
        parameter.data = parameter.data.clone()
    return model


def _guarded(source: str | Path, load: Any) -> Any:
    """Call `load` and turn what transformers raises for bad input into one short ModelError."""
    from safetensors import SafetensorError

    try:
        return load(str(source))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        text = str(error)
        if "trust_remote_code" in text or "custom code" in text:
            raise ModelError(f"{source} brings code of its own; remote code is never run") from error
        if local_folder(source) is None and isinstance(error, OSError) and "safetensors" in text:
            raise ModelError(
                f"{source} has no safetensors weights on the hub; convert it, pickled weights are never read"
            ) from error
        if local_folder(source) is None and isinstance(error, OSError):
            raise ModelError(
                f"{source} is neither a folder nor in the local cache, and the hub did not give it; "
                "check the name and the network, or pass a folder"
            ) from error
        first = " ".join(text.split())[:200]
        raise ModelError(f"{source} cannot be loaded: {first}") from error
