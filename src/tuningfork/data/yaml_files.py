"""Small YAML files of a user's own (rubrics, constitutions, specs), checked against a settings class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tuningfork.errors import DataError

Model = TypeVar("Model", bound=BaseModel)


def load_yaml(model: type[Model], path: Path, what: str) -> Model:
    """The `what` in a file, e.g. a rubric; DataError with file and place for what is none."""
    return checked(model, read_yaml(path), path, what)


def read_yaml(path: Path) -> Any:
    """What a file says, unchecked; DataError where it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: not a readable YAML file ({error})") from error


def checked(model: type[Model], content: Any, path: Path, what: str) -> Model:
    """The content of a file as `model`; DataError with file and place, where that is the whole file `what` it should be."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or what}: {first['msg']}") from error
