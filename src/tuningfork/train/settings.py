"""Settings of the optimisation loop. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tuningfork.settings import Input, Settings

Batching = Literal["random", "length_grouped"]
"""Which rows share a batch: any, or rows of similar length, which leaves less padding."""

Packing = Literal["concatenate", "best_fit", "none"]
"""How texts fill rows. `concatenate` cuts them, one behind the other, into full rows, and attention crosses them as in
GPT-2; `best_fit` puts whole texts into rows without any seeing another; `none` gives each text a row."""


BudgetSeconds = Annotated[float, Field(gt=0)] | None
"""Seconds of computing that a training may spend, sampling and scoring included; looks and checkpoints are not counted."""


class OptimizerSettings(Settings):
    """AdamW with a schedule."""

    learning_rate: Annotated[float, Field(gt=0)] | Literal["usual"] = 1e-3
    """peak learning rate; `usual` is the middle of what is usual for a model of that size and what is trained of it"""
    betas: tuple[float, float] = (0.9, 0.95)
    """decay of the first and second moment"""
    eps: float = Field(default=1e-8, gt=0)
    """added to the root of the second moment"""
    weight_decay: float = Field(default=0.0, ge=0)
    """decoupled decay of matrices; biases, norms and embeddings are never decayed"""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """largest norm of the whole gradient; empty switches clipping off"""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """shape of the decay after the warm-up"""
    warmup: float = Field(default=0.03, ge=0)
    """steps of linear warm-up; below 1 a share of all steps"""
    floor: float = Field(default=0.1, ge=0, le=1)
    """where cosine and linear end, as a share of the peak"""
    embedding_multiplier: float = Field(default=1.0, gt=0)
    """learning rate of the token embeddings, as a multiple"""
    head_multiplier: float = Field(default=1.0, gt=0)
    """learning rate of new heads (reward, value), as a multiple"""


class ReplaySettings(Settings):
    """A second stream of plain text, trained beside the main one so that what the model knew is kept."""

    data: Input
    """text file (`{"text": ...}` rows): a stage's file such as world/pretrain.jsonl, or a path"""
    rows: int = Field(default=24, ge=1)
    """rows of text per optimizer step"""
    length: int = Field(default=64, ge=2)
    """tokens per row"""
    packing: Packing = "concatenate"
    """how texts fill rows; best as they did when the model read them first"""
    weight: float = Field(default=1.0, gt=0)
    """weight of its loss (the main stream has weight 1)"""
