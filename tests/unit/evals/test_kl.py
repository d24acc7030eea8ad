"""KL of responses to the model before: at the temperature at which they were sampled."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tuningfork.evals.kl import kl_per_sequence
from tuningfork.rollout.rollout import Prompt, sample
from tuningfork.rollout.sampler import LocalEngine
from tuningfork.rollout.settings import SamplingSettings


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_samples_give_the_divergence_of_what_they_were_drawn_from(tiny_backbone: Any, temperature: float) -> None:
    """One token: the exact KL of softmax(logits / temperature), within four standard errors of the mean of samples."""
    after = copy.deepcopy(tiny_backbone)
    with torch.no_grad():
        after.model.get_output_embeddings().weight.mul_(1.5)
    ids = [*after.start_ids, *after.encode(["cat"])[0]]
    logits = []
    for model in (after, tiny_backbone):
        row = torch.tensor([ids])
        hidden = model.hidden(row, torch.ones_like(row, dtype=torch.bool))
        logits.append(model.lm_head(hidden[0, -1]).detach().double())
    logps = [(x / temperature).log_softmax(-1) for x in logits]
    exact = float((logps[0].exp() * (logps[0] - logps[1])).sum())
    settings = SamplingSettings(max_new_tokens=1, temperature=temperature)
    rollouts = sample(LocalEngine(after), [Prompt(ids, "cat")], settings, seed=0, num_samples=4000)
    found = torch.tensor(kl_per_sequence(after, tiny_backbone, rollouts, temperature), dtype=torch.float64)
    error = float(found.std()) / len(found) ** 0.5
    assert abs(float(found.mean()) - exact) < 4 * error and error < 0.1 * exact
