"""Folders of the user's own: settings that no recipe may bring, and what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

CONFIG_VARIABLE = "TUNINGFORK_CONFIG"
CACHE_VARIABLE = "TUNINGFORK_CACHE"


def config_folder() -> Path:
    """`~/.config/tuningfork`, or what TUNINGFORK_CONFIG names."""
    return Path(os.environ.get(CONFIG_VARIABLE) or "~/.config/tuningfork").expanduser()


def cache_folder() -> Path:
    """`~/.cache/tuningfork`, or what TUNINGFORK_CACHE names."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/tuningfork").expanduser()
