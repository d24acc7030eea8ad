"""What a method is, in words: `tuningfork methods` and the tables of docs/methods.md are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class About:
    """A method in words. A module of methods offers one as `ABOUT`.

    Example: About(title="DPO", summary="prefers the chosen answer", papers=("2305.18290",), loss="`-logsig(beta h)`")
    """

    title: str
    summary: str
    """what it does, in a line"""
    papers: tuple[str, ...]
    """where it is from; an arXiv number becomes a link"""
    loss: str
    """its loss, or what it keeps of the samples"""
    columns: Mapping[str, str]
    """the other cells of its row in the table of its family, those that its code does not say"""
    defaults: Mapping[str, str]
    """setting -> where its default is from"""
    also_needs: str = ""
    """what it needs beside what its code says"""
