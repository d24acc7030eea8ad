"""A method is one file: one policy method and one preference method from a temporary folder, run by their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

POLICY = '''"""Toy: the gradient of the score alone, twice Williams 1992."""

from pydantic import Field

from tuningfork.batch import Advantages, Needs
from tuningfork.methods import regularisation
from tuningfork.methods.advantage import on_every_token
from tuningfork.methods.surrogate import policy_gradient, ratio_metrics

average = "sequence_sum"


class Settings(regularisation.Settings):
    """Settings of the toy."""

    strength: float = Field(default=1.0, gt=0)
    """How much a score counts."""


def needs(settings):
    """Fresh responses and the reference."""
    return Needs(reference=settings.kl_in != "none", on_policy=True)


def advantages(experience, settings):
    """The score on every token, times the strength."""
    scores = settings.strength * regularisation.response_rewards(experience, settings)
    return Advantages(advantages=on_every_token(scores, experience.mask)), {"toy_strength": settings.strength}


def token_loss(batch, settings):
    """Losses and metrics (B, T)."""
    batch = batch.zero_padding()
    losses = policy_gradient(batch.logprobs, batch.advantages)
    return regularisation.add_terms(losses, ratio_metrics(batch.logprobs, batch.old_logprobs, losses), batch, settings)
'''

PREFERENCE = '''"""Toy: the square of what is missing to a margin, as IPO has it (2310.12036) but on raw likelihoods."""

from pydantic import Field

import tuningfork.settings
from tuningfork.batch import PreferenceNeeds
from tuningfork.methods import log_ratio


class Settings(tuningfork.settings.Settings):
    """Settings of the toy."""

    margin: float = Field(default=2.0, gt=0)
    """The margin asked for, in nats."""


def needs(settings):
    """Nothing but the policy."""
    return PreferenceNeeds()


def loss(batch, settings):
    """Losses and metrics (B,)."""
    margins = batch.chosen - batch.rejected
    losses = (margins - settings.margin).square()
    return losses, log_ratio.pair_metrics(losses, margins)
'''

RECIPE = """
version: 1
name: toys
runtime: {device: cpu, precision: fp32, threads: 1}
stages:
  - rl:
      policy: model
      prompts: prompts.jsonl
      reward: {name: lexicon, words: words.txt}
      method: {name: toy_policy, strength: 0.5}
      adapter: {kind: full}
      iterations: 2
      prompts_per_iteration: 2
      samples_per_prompt: 2
      sampling: {max_new_tokens: 4}
      scale_reward: {by: none}
      shaping: {missing_eos_score: null}
      rehearsal: null
  - preference:
      model: rl/model
      data: pairs.jsonl
      method: {name: toy_preference, margin: 3}
      adapter: {kind: full}
      epochs: 1
      batch_rows: 4
      holdout_share: 0.3
      sampling: {max_new_tokens: 4}
      minimum_accuracy: 0
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    """A model, data, a recipe, and a folder with one file for each method."""
    tiny_backbone.save(tmp_path / "model")
    words = ("cat", "mat", "cap", "map", "tap", "cot")
    prompts = [{"id": word, "prompt": f"what colour is the {word}?\n", "root": word} for word in words]
    pairs = [row | {"chosen": "it is red", "rejected": "it is blue"} for row in prompts]
    for name, rows in (("prompts", prompts), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "words.txt").write_text("cat\n")
    (tmp_path / "toys.yaml").write_text(RECIPE)
    for family, name, source in (("policy", "toy_policy", POLICY), ("preference", "toy_preference", PREFERENCE)):
        (tmp_path / "mine" / family).mkdir(parents=True)
        (tmp_path / "mine" / family / f"{name}.py").write_text(source)
    return tmp_path


def tuningfork(folder: Path, *arguments: str, own: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TUNINGFORK_CONFIG": str(folder / "config")}
    environment |= {"TUNINGFORK_METHODS": str(folder / "mine")} if own else {}
    command = [sys.executable, "-m", "tuningfork.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_methods_of_ones_own_run_by_name_once_they_are_trusted(folder: Path) -> None:
    without = tuningfork(folder, "run", "toys.yaml", own=False)
    assert without.returncode == 2 and "'toy_policy' is not allowed" in without.stderr
    refused = tuningfork(folder, "run", "toys.yaml")
    assert refused.returncode == 2 and "not trusted yet (rl.method, preference.method)" in refused.stderr
    first = tuningfork(folder, "run", "toys.yaml", "--trust")
    assert first.returncode == 0, first.stderr
    for stage, metric in (("1-rl", "toy_strength"), ("2-preference", "preference_loss")):
        rows = [json.loads(line) for line in (folder / "runs" / "toys" / stage / "metrics.jsonl").open()]
        assert any(metric in row for row in rows), stage
    metrics = [folder / "runs" / "toys" / stage / "metrics.jsonl" for stage in ("1-rl", "2-preference")]
    before = [path.read_text() for path in metrics]
    file = folder / "mine" / "preference" / "toy_preference.py"
    file.write_text(file.read_text().replace(".square()", ".abs()"))
    assert "not trusted yet (preference.method)" in tuningfork(folder, "run", "toys.yaml").stderr
    assert tuningfork(folder, "run", "toys.yaml", "--trust").returncode == 0
    after = [path.read_text() for path in metrics]
    assert after[0] == before[0] and after[1] != before[1], "only the stage whose method changed runs again"


def test_own_settings_are_checked_explained_and_listed(folder: Path) -> None:
    wrong = tuningfork(folder, "run", "toys.yaml", "rl.method.strenth=1")
    assert wrong.returncode == 2 and "unknown key; did you mean strength?" in wrong.stderr
    told = tuningfork(folder, "methods", "toy_preference").stdout
    assert "as IPO has it (2310.12036)" in told and "margin  number, default 2.0" in told
    assert "How much a score counts" in tuningfork(folder, "explain", "rl.method.strength").stdout


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    (folder / "mine" / "policy" / "ppo.py").write_text(POLICY)
    refused = tuningfork(folder, "run", "toys.yaml")
    assert refused.returncode == 2 and "there is a method 'ppo' already" in refused.stderr
