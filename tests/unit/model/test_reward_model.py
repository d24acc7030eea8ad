from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import ARCHITECTURES, perturb, shifted_left
from torch import Tensor

from tuningfork.errors import ModelError
from tuningfork.model.loading import load_backbone
from tuningfork.model.pooling import POOLINGS, pool
from tuningfork.model.reward_model import RewardModel
from tuningfork.model.settings import Full, Lora
from tuningfork.reward.base import Item
from tuningfork.reward.kinds.learned import Learned
from tuningfork.runtime import Runtime

Batch = tuple[Tensor, Tensor]
TEMPLATE = {"special_tokens": True, "form": "plain"}
DOCS = Path(__file__).parents[3] / "docs" / "reward-models.md"


@pytest.fixture
def response(batch: Batch) -> Tensor:
    """Everything but the first two tokens."""
    return batch[1] & (torch.arange(9) >= 2)


def trained(
    folder: Path, runtime: Runtime, pooling: Any = "last", adapter: Any = None, criteria: Any = None
) -> RewardModel:
    backbone = load_backbone(folder, runtime, adapter=adapter or Full())
    model = RewardModel.create(backbone, pooling, seed=5, template=TEMPLATE, criteria=criteria)
    perturb([*backbone.trainable_parameters(), model.head.weight])
    if model.query is not None:
        perturb([model.query.query], seed=2)
    return model


def test_pooling_by_hand() -> None:
    hidden = torch.arange(8.0).reshape(2, 4, 1)  # rows 0 1 2 3 and 4 5 6 7
    mask = torch.tensor([[True, True, False, False], [False, True, True, True]])
    response = torch.tensor([[False, True, False, False], [False, False, True, True]])
    assert pool(hidden, mask, "last").flatten().tolist() == [1, 7]
    assert pool(hidden, mask, "mean_all").flatten().tolist() == [0.5, 6]
    assert pool(hidden, mask, "mean_response", response).flatten().tolist() == [1, 6.5]
    assert pool(hidden, mask, "max", response).flatten().tolist() == [1, 7]
    # a query of 0 weighs all alike; one of log 3 weighs each state three times the one that is 1 less
    assert pool(hidden, mask, "attention", response, torch.zeros(1)).flatten().tolist() == [1, 6.5]
    weighted = pool(hidden, mask, "attention", response, torch.tensor([3.0]).log()).flatten()
    torch.testing.assert_close(weighted, torch.tensor([1.0, (6 + 3 * 7) / 4]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_against_loops_and_what_is_not_pooled_gets_no_gradient(pooling: Any) -> None:
    source = torch.Generator().manual_seed(0)
    hidden, query = (
        torch.randn(3, 5, 4, generator=source, dtype=torch.float64),
        torch.randn(4, generator=source).double(),
    )
    mask = torch.arange(5) < torch.tensor([5, 3, 4])[:, None]
    response = mask & (torch.arange(5) >= torch.tensor([2, 1, 0])[:, None])
    hidden.requires_grad_()
    pooled = pool(hidden, mask, pooling, response, query)
    for row in range(3):
        read = [t for t in range(5) if (response if pooling in ("mean_response", "max", "attention") else mask)[row, t]]
        states = [hidden[row, t].tolist() for t in read]
        scores = [sum(a * b for a, b in zip(s, query.tolist(), strict=True)) / 2 for s in states]
        shares = [math.exp(x) / sum(map(math.exp, scores)) for x in scores]
        columns = list(zip(*states, strict=True))
        expected = {
            "last": states[-1],
            "max": [max(column) for column in columns],
            "attention": [sum(w * x for w, x in zip(shares, column, strict=True)) for column in columns],
        }.get(pooling, [sum(column) / len(column) for column in columns])
        torch.testing.assert_close(pooled[row].detach(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9)
    (gradient,) = torch.autograd.grad(pooled.sum(), hidden)
    assert bool((gradient[~mask] == 0).all()) and bool((gradient[:, :, :].abs().sum((1, 2)) > 0).all())


@pytest.mark.parametrize("pooling", POOLINGS)
def test_scores_ignore_padding_and_order(
    pooling: Any, folders: dict[str, Path], runtime: Runtime, batch: Batch, response: Tensor
) -> None:
    ids, mask = batch
    model = trained(folders["gpt2"], runtime, pooling)
    scores = model.score(ids, mask, response)
    assert scores.shape == (3,) and scores.std() > 1e-2
    left_ids, left_mask = shifted_left(ids, mask)
    left_response = left_mask.clone()
    for row in left_response:
        row[row.nonzero()[:2]] = False
    # fp64 weights tell rounding from a mistake: padding side and batch order change nothing beyond 1e-6
    model.backbone.model.double()
    model.head.float()
    exact = model.score(ids, mask, response)
    torch.testing.assert_close(model.score(left_ids, left_mask, left_response), exact, rtol=0, atol=1e-6)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(model.score(ids[order], mask[order], response[order]), exact[order], rtol=0, atol=1e-6)
    alone = [model.score(ids[row : row + 1, : int(mask[row].sum())], mask[row : row + 1, : int(mask[row].sum())],
                         response[row : row + 1, : int(mask[row].sum())]) for row in range(3)]  # fmt: skip
    torch.testing.assert_close(torch.cat(alone), exact, rtol=0, atol=1e-6)
    model.backbone.model.float()
    assert torch.equal(model.score(ids.masked_fill(~mask, 7), mask, response), scores)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(model.score(ids[order], mask[order], response[order]), scores[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_artifact_comes_back_to_the_bit_and_transformers_agrees(
    architecture: str, folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    ids, mask = batch
    model = trained(folders[architecture], runtime)
    raw = model.score(ids, mask).detach()
    model.normalise(raw)
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, runtime)
    assert torch.equal(loaded.score(ids, mask), model.score(ids, mask))
    assert (loaded.gain, loaded.bias, loaded.template) == (model.gain, model.bias, TEMPLATE)
    assert not any(p.requires_grad for module in loaded.modules().values() for p in module.parameters())
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    logits = theirs(input_ids=ids.masked_fill(~mask, 0), attention_mask=mask.long()).logits.squeeze(-1)
    torch.testing.assert_close(logits, raw, rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS[1:])
def test_pooling_travels_with_the_artifact(
    pooling: Any, folders: dict[str, Path], runtime: Runtime, batch: Batch, response: Tensor, tmp_path: Path
) -> None:
    model = trained(folders["llama"], runtime, pooling)
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, runtime)
    assert loaded.pooling == pooling
    assert torch.equal(loaded.score(*batch, response), model.score(*batch, response))


@pytest.mark.slow
def test_the_lines_of_the_docs_give_the_same_scores_in_a_fresh_process(
    folders: dict[str, Path], runtime: Runtime, tmp_path: Path
) -> None:
    """Every pooling, and criteria; nothing of Tuningfork is imported there."""
    texts = [("what colour is it ?", " it is blue"), ("the red kettle", " a green hat is red")]
    expected: dict[str, list[float | None]] = {}
    for pooling in (*POOLINGS, "criteria"):
        criteria = {"helpful": 1.0, "brief": -0.5} if pooling == "criteria" else None
        model = trained(folders["llama"], runtime, "last" if criteria else pooling, criteria=criteria)
        if criteria:
            model.standardise(torch.randn(8, 2, generator=torch.Generator().manual_seed(1)))
        model.gain, model.bias = 1.7, -0.3
        folder = str(tmp_path / pooling)
        model.save(Path(folder), verify=False)
        expected[folder] = [score.total for score in Learned(model).score([Item(*text) for text in texts])]
    lines = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    program = f"""
import json, sys
found = {{}}
for place in {list(expected)!r}:
    names = {{}}
    exec({lines!r}.replace("reward/model", place), names)
    found[place] = [names["score"](*text) for text in {texts!r}]
assert "tuningfork" not in sys.modules
print(json.dumps(found))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for folder, scores in json.loads(found.stdout).items():
        assert scores == pytest.approx(expected[folder], abs=1e-6), folder


def test_criteria_are_weighted_and_come_back(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    model = trained(folders["gpt2"], runtime, criteria={"helpful": 2.0, "brief": -1.0})
    raw = model.raw_scores(*batch).detach()
    model.standardise(raw)
    scaled = (raw - raw.mean(0)) / raw.std(0, correction=0)
    torch.testing.assert_close(model.score(*batch), 2 * scaled[:, 0] - scaled[:, 1], rtol=1e-5, atol=1e-5)
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, runtime)
    assert loaded.criteria == model.criteria and loaded.backbone.model.config.id2label == {0: "helpful", 1: "brief"}
    assert torch.equal(loaded.score(*batch), model.score(*batch))
    with pytest.raises(ModelError, match="same brief"):
        model.standardise(torch.tensor([[1.0, 2.0], [2.0, 2.0]]))


def test_two_reward_adapters_share_one_trunk(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    models = [trained(folders["gpt2"], runtime, adapter=Lora(last_layers=1 + n)) for n in range(2)]
    for number, model in enumerate(models):
        model.save(tmp_path / str(number))
    policy = load_backbone(folders["gpt2"], runtime, adapter=Lora())
    shared = [RewardModel.load(tmp_path / str(number), runtime, policy) for number in range(2)]
    assert [model.role for model in shared] == ["reward", "reward-1"]
    for one, alone in zip(shared, models, strict=True):
        torch.testing.assert_close(one.score(*batch), alone.score(*batch), rtol=0, atol=1e-5)


def test_a_missing_query_is_refused(folders: dict[str, Path], runtime: Runtime, tmp_path: Path) -> None:
    trained(folders["llama"], runtime, "attention").save(tmp_path)
    (tmp_path / "pooling.safetensors").unlink()
    with pytest.raises(ModelError, match="query"):
        RewardModel.load(tmp_path, runtime)


def test_normalise_gives_the_mean_and_deviation_asked_for(
    folders: dict[str, Path], runtime: Runtime, batch: Batch
) -> None:
    model = trained(folders["llama"], runtime)
    before = model.score(*batch).detach()
    model.normalise(before, mean=0.5, std=2.0)
    model.normalise(model.score(*batch).detach(), mean=-1.0, std=0.5)
    after = model.score(*batch)
    assert after.mean().item() == pytest.approx(-1.0, abs=1e-4)
    assert after.std(correction=0).item() == pytest.approx(0.5, abs=1e-4)
    assert torch.equal(after.argsort(), before.argsort())
    with pytest.raises(ModelError, match="same score"):
        model.normalise(torch.ones(4))


def test_a_new_head_has_the_documented_spread_and_no_bias(folders: dict[str, Path], runtime: Runtime) -> None:
    backbone = load_backbone(folders["llama"], runtime)
    weights = torch.cat([RewardModel.create(backbone, seed=seed).head.weight.flatten() for seed in range(60)])
    assert weights.std().item() == pytest.approx(33**-0.5, rel=0.05)
    assert RewardModel.create(backbone, seed=0).head.bias is None
    assert torch.equal(
        RewardModel.create(backbone, seed=1).head.weight, RewardModel.create(backbone, seed=1).head.weight
    )


def test_a_missing_head_is_refused(folders: dict[str, Path], runtime: Runtime, tmp_path: Path) -> None:
    trained(folders["llama"], runtime).save(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"score\.weight"):
        RewardModel.load(tmp_path, runtime)


def test_a_language_model_is_no_reward_model_and_the_other_way_round(
    folders: dict[str, Path], runtime: Runtime, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="labels"):
        RewardModel.load(folders["llama"], runtime)
    trained(folders["llama"], runtime).save(tmp_path)
    with pytest.raises(ModelError, match="use it as a reward"):
        load_backbone(tmp_path, runtime)


def test_a_damaged_save_is_noticed(
    folders: dict[str, Path], runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.model import reward_model

    model = trained(folders["llama"], runtime)
    honest = reward_model.merged_state
    monkeypatch.setattr(reward_model, "merged_state", lambda m: {k: v * 1.01 for k, v in honest(m).items()})
    with pytest.raises(ModelError, match="differs from the trained one"):
        model.save(tmp_path)


def test_a_newer_format_is_refused(folders: dict[str, Path], runtime: Runtime, tmp_path: Path) -> None:
    trained(folders["llama"], runtime).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["tuningfork"]["version"] = 99
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="newer"):
        RewardModel.load(tmp_path, runtime)


def test_a_reward_adapter_shares_the_policys_base(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    """One trunk carries policy, reference and reward; none of them disturbs another."""
    model = trained(folders["gpt2"], runtime, adapter=Lora(last_layers=2))
    model.save(tmp_path)
    alone = model.score(*batch).detach()
    policy = load_backbone(folders["gpt2"], runtime, adapter=Lora(r=4, last_layers=1))
    base = policy.hidden(*batch).detach()
    trainable = policy.trainable_parameters()
    shared = RewardModel.load(tmp_path, runtime, backbone=policy)
    assert shared.backbone is policy and shared.role == "reward"
    assert [id(p) for p in policy.trainable_parameters()] == [id(p) for p in trainable]
    perturb(policy.trainable_parameters())
    moved = policy.hidden(*batch)
    torch.testing.assert_close(shared.score(*batch), alone, rtol=0, atol=1e-5)
    assert torch.equal(policy.hidden(*batch), moved) and not torch.allclose(moved, base, atol=1e-3)
    assert torch.equal(policy.hidden(*batch, role="reference"), base)
    policy.save(tmp_path / "policy")  # holds the policy's adapter and not the reward's
    torch.testing.assert_close(load_backbone(tmp_path / "policy", runtime).hidden(*batch), moved, rtol=0, atol=1e-5)


def test_a_reward_over_another_base_gets_its_own_trunk(
    folders: dict[str, Path], runtime: Runtime, batch: Batch, tmp_path: Path
) -> None:
    model = trained(folders["gpt2"], runtime, adapter=Lora(last_layers=2))
    model.save(tmp_path)
    policy = load_backbone(folders["gpt2"], runtime, adapter=Full())
    perturb(policy.trainable_parameters())
    loaded = RewardModel.load(tmp_path, runtime, backbone=policy)
    assert loaded.backbone is not policy
    torch.testing.assert_close(loaded.score(*batch), model.score(*batch), rtol=0, atol=1e-5)
