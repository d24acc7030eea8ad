"""Judged texts as token ids, and how they become a padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.data.judgements import Judgement
from tuningfork.model.backbone import Backbone


@dataclass(frozen=True)
class JudgedText:
    """Token ids of a prompt and of a response; the response keeps its EOS where it had one."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def judged_texts(backbone: Backbone, judgement: Judgement) -> list[JudgedText]:
    """The candidates as ids: those that were sampled where they are known, else tokenised, with EOS where they ended."""
    prompt = judgement.prompt_ids or [*backbone.start_ids, *backbone.encode([judgement.prompt])[0]]
    texts = []
    for candidate in judgement.candidates:
        ids = candidate.ids or backbone.encode([candidate.text])[0] + [backbone.eos_id] * candidate.has_ended
        texts.append(JudgedText(prompt, ids))
    return texts


def collate_texts(texts: Sequence[JudgedText], pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """ids, mask and response mask (B, T) of texts, right-padded; the response mask is True on response tokens."""
    length = max(len(text.prompt) + len(text.response) for text in texts)
    ids = torch.full((len(texts), length), pad_id, dtype=torch.long)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    response_mask = torch.zeros_like(mask)
    for row, text in enumerate(texts):
        joined = text.prompt + text.response
        ids[row, : len(joined)] = torch.tensor(joined)
        mask[row, : len(joined)] = True
        response_mask[row, len(text.prompt) : len(joined)] = True
    return ids, mask, response_mask
