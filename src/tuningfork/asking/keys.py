"""Which key goes to which host. The user's own `keys.yaml` binds hosts to environment variables; a recipe cannot.

    api.example.com: EXAMPLE_KEY

A variable that is bound there goes to no other host, whatever a recipe says.
"""

from __future__ import annotations

import os

import yaml

from tuningfork.errors import ModelError
from tuningfork.folders import config_folder

LOCAL = ("localhost", "127.0.0.1", "::1")


def key_for(host: str, scheme: str, named: str | None) -> tuple[str, str | None]:
    """The key for a host ("" for none) and the variable it came from; `named` is the variable that a recipe names."""
    bound = _bindings()
    variable = named or bound.get(host)
    if variable is None:
        return "", None
    hosts = sorted(other for other, name in bound.items() if name == variable)
    if hosts and host not in hosts:
        raise ModelError(f"key_env: your keys.yaml binds {variable} to {', '.join(hosts)}; it is not sent to {host}")
    if scheme != "https" and host not in LOCAL:
        raise ModelError(f"url: {scheme}://{host} would carry the key in the open; use https")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ModelError(f"the environment variable {variable} is empty; put the key for {host} there")
    return key, variable


def _bindings() -> dict[str, str]:
    path = config_folder() / "keys.yaml"
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ModelError(f"{path}: not YAML ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(v, str) and v.isidentifier() for v in found.values()):
        raise ModelError(f"{path}: needs lines `host: NAME_OF_AN_ENVIRONMENT_VARIABLE`, and never a key itself")
    return {str(host): name for host, name in found.items()}
