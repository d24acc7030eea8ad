"""Model folders as a user would have them, made once; `tiny_models.py` is importable beside the tests."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny_models import ARCHITECTURES, TEXTS, tiny_config

from tuningfork.model.hub import transformers_library
from tuningfork.model.tokenizer import train_tokenizer
from tuningfork.runtime import Runtime


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime("cpu", "fp32", 1)


@pytest.fixture(scope="session")
def trained_tokenizer() -> Any:
    return train_tokenizer(TEXTS, 320)


@pytest.fixture
def tokenizer(trained_tokenizer: Any) -> Any:
    """A copy: a backbone changes the tokenizer it is given."""
    return copy.deepcopy(trained_tokenizer)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, trained_tokenizer: Any) -> dict[str, Path]:
    """A model folder for each architecture, with weights large enough that mistakes show."""
    root, made = tmp_path_factory.mktemp("models"), {}
    for architecture in ARCHITECTURES:
        torch.manual_seed(7)
        model = transformers_library().AutoModelForCausalLM.from_config(
            tiny_config(architecture, len(trained_tokenizer))
        )
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        made[architecture] = root / architecture
        model.save_pretrained(made[architecture])
        trained_tokenizer.save_pretrained(made[architecture])
    return made


@pytest.fixture
def batch(tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (3, 9) and a mask with 9, 6 and 4 real tokens, padded on the right."""
    ids = torch.randint(21, len(tokenizer), (3, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.arange(9) < torch.tensor([9, 6, 4])[:, None]
    return ids, mask
