"""Small problems whose optimum is known; policy gradients must be those of the expected reward, by enumeration."""

from typing import Any

import pytest
import torch
from checks import close, gradient, mask_of
from torch import Tensor

from tuningfork.batch import Experience, PairLogprobs, PolicyBatch
from tuningfork.methods import kl
from tuningfork.methods.policy import load, ppo
from tuningfork.methods.preference import load as load_preference
from tuningfork.methods.shaping import kl_shaped_rewards, terminal_rewards
from tuningfork.methods.surrogate import clipped_surrogate

REWARDS = torch.tensor([1.0, 0.0, 0.5, -1.0], dtype=torch.float64)
REFERENCE = torch.tensor([0.1, 0.4, 0.3, 0.2], dtype=torch.float64)
ALL = torch.ones(4, 1, dtype=torch.bool)
OFF = ppo.Settings(value_coefficient=0.0, value_clip_range=None)


def column(x: Tensor) -> Tensor:
    return x.unsqueeze(-1)


def ppo_loss(logits: Tensor, rewards: Tensor, beta_in_loss: float = 0.0) -> Tensor:
    """PPO's loss in expectation: each arm once, as a response of one token, weighted with its probability."""
    logprobs = logits.log_softmax(-1)
    zero = torch.zeros(4, 1, dtype=torch.float64)
    settings = OFF.model_copy(update={"kl_in": "loss", "kl_estimator": "k2"}) if beta_in_loss else OFF
    batch = PolicyBatch(
        logprobs=column(logprobs),
        old_logprobs=column(logprobs.detach()),
        ref_logprobs=column(REFERENCE.log()),
        advantages=rewards.detach(),
        values=zero,
        old_values=zero,
        returns=zero,
        mask=ALL,
        weights=column(logprobs.detach().exp()),
        kl_coefficient=beta_in_loss,
    )
    losses, _ = ppo.token_loss(batch, settings)
    return (losses * batch.weights).sum()


def optimum(beta: float) -> Tensor:
    """ref exp(r / beta) / Z, the maximiser of E[r] - beta KL(policy || ref)."""
    return (REFERENCE.log() + REWARDS / beta).softmax(-1)


def test_gradient_is_that_of_the_expected_reward_whatever_the_baseline() -> None:
    logits = torch.tensor([0.3, -0.2, 0.0, 0.5], dtype=torch.float64)
    expected = gradient(lambda x: -(x.softmax(-1) * REWARDS).sum(), logits)
    for baseline in (0.0, 0.7, -3.0):
        close(gradient(lambda x, b=baseline: ppo_loss(x, column(REWARDS - b)), logits), expected, 1e-12)


def test_two_armed_bandit_by_sampling() -> None:
    """The Monte-Carlo mean of REINFORCE gradients lies within 4 standard errors of the enumerated gradient."""
    logits = torch.tensor([0.2, -0.4], dtype=torch.float64)
    rewards = torch.tensor([1.0, 0.0], dtype=torch.float64)
    exact = gradient(lambda x: -(x.softmax(-1) * rewards).sum(), logits)[0].item()
    arms = torch.multinomial(logits.softmax(-1), 4000, replacement=True, generator=torch.Generator().manual_seed(0))
    old = logits.log_softmax(-1)[arms].unsqueeze(-1)
    # by hand: d/dlogit_0 of log p(arm) is [arm = 0] - p_0
    each = -rewards[arms] * ((arms == 0).double() - logits.softmax(-1)[0])
    ours = gradient(
        lambda x: clipped_surrogate(column(x.log_softmax(-1)[arms]), old, column(rewards[arms]), 0.2).mean(), logits
    )
    close(ours[0], each.mean(), 1e-12)
    assert abs(ours[0].item() - exact) < 4 * each.std().item() / 4000**0.5


def test_kl_in_the_reward_converges_to_the_tilted_reference() -> None:
    beta, logits = 0.5, REFERENCE.log()
    for _ in range(500):
        logprobs = column(logits.log_softmax(-1))
        rewards = kl_shaped_rewards(terminal_rewards(REWARDS, ALL), logprobs, column(REFERENCE.log()), ALL, beta)
        logits = logits - 4 * gradient(lambda x, r=rewards: ppo_loss(x, r), logits)
    close(logits.softmax(-1), optimum(beta), 1e-6)


def test_k2_in_the_loss_converges_to_the_same() -> None:
    beta, logits = 0.5, REFERENCE.log()
    for _ in range(500):
        logits = logits - 4 * gradient(lambda x: ppo_loss(x, column(REWARDS), beta_in_loss=beta), logits)
    close(logits.softmax(-1), optimum(beta), 1e-6)


def test_a_huge_coefficient_keeps_the_reference() -> None:
    beta, logits = 1e4, REFERENCE.log()
    for _ in range(100):
        rewards = kl_shaped_rewards(
            terminal_rewards(REWARDS, ALL), column(logits.log_softmax(-1)), column(REFERENCE.log()), ALL, beta
        )
        logits = logits - gradient(lambda x, r=rewards: ppo_loss(x, r), logits) / beta
    assert (logits.softmax(-1) - REFERENCE).abs().max() < 1e-3


def test_kl_of_a_sequence_is_a_sum_over_its_tokens() -> None:
    """Two responses of 1 and 3 tokens with k1 of 0.5 a token: (0.5 + 1.5) / 2 = 1 nat a sequence, which is steered."""
    mask = mask_of([1, 3])
    per_token = kl.k1(mask * 0.5, mask * 0.0)
    per_sequence = per_token.sum(-1).mean().item()
    close(per_sequence, 1.0)
    assert kl.AdaptiveKL(0.1, target=1.0, horizon=100).update(per_sequence, 2).coefficient == 0.1


def step_of(name: str, settings: Any, logits: Tensor, beta: float) -> Tensor:
    """Gradient of a method's loss in expectation: every arm once, weighted with its probability; all arms are one group."""
    method = load(name)
    logprobs, reference = logits.log_softmax(-1), REFERENCE.log()
    expected = (logprobs.exp() * REWARDS).sum()
    known = Experience(
        scores=REWARDS,
        old_logprobs=column(logprobs),
        ref_logprobs=column(reference),
        values=column(expected.expand(4)),
        mask=ALL,
        groups=torch.zeros(4, dtype=torch.long),
        baselines=expected.expand(4),
        max_length=1,
        kl_coefficient=beta,
    )
    estimate, _ = method.advantages(known, settings)

    def loss(x: Tensor) -> Tensor:
        now = column(x.log_softmax(-1))
        batch = PolicyBatch(
            logprobs=now,
            old_logprobs=now.detach(),
            ref_logprobs=column(reference),
            advantages=estimate.advantages,
            returns=estimate.returns,
            values=column(expected.expand(4)),
            old_values=column(expected.expand(4)),
            mask=ALL,
            weights=column(logprobs.exp()),
            kl_coefficient=beta,
        )
        return (method.token_loss(batch, settings)[0] * batch.weights).sum()

    return gradient(loss, logits)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reinforce", {"baseline": "none"}),
        ("reinforce", {"baseline": "greedy"}),
        ("a2c", {}),
        ("ppo", {"whiten_advantages": False, "value_coefficient": 0.0}),
        ("rloo", {}),
        ("grpo", {"scale": "none", "kl_in": "reward", "kl_estimator": None}),
        ("dr_grpo", {"kl_in": "loss", "kl_estimator": "k2"}),
        ("gspo", {"kl_in": "loss", "kl_estimator": "k2"}),
    ],
)
def test_with_whitening_off_the_policy_converges_to_the_tilted_reference(name: str, options: dict[str, Any]) -> None:
    beta, settings, logits = 0.5, load(name).Settings(**options), REFERENCE.log()
    for _ in range(300):
        logits = logits - (8 if name == "gspo" else 4) * step_of(name, settings, logits, beta)
    # GSPO's rewards are in units of the deviation of their group
    scale = float(REWARDS.std()) + 1e-4 if name == "gspo" else 1.0
    close(logits.softmax(-1), optimum(beta * scale), 1e-6)


def test_k3_in_the_loss_has_an_optimum_of_its_own() -> None:
    """Its expected gradient is that of KL(ref || policy): p = beta ref / (l - r), with l such that p sums to 1."""
    beta, logits = 0.5, REFERENCE.log()
    settings = load("grpo").Settings.model_validate({"scale": "none"})
    for _ in range(150):
        logits = logits - 4 * step_of("grpo", settings, logits, beta)
    low, high = REWARDS.max().item() + 1e-9, REWARDS.max().item() + 10
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (beta * REFERENCE / (middle - REWARDS)).sum() > 1 else (low, middle)
    close(logits.softmax(-1), beta * REFERENCE / (low - REWARDS), 1e-6)
    assert (logits.softmax(-1) - optimum(beta)).abs().max() > 0.01, "not the reverse-KL optimum"


@pytest.mark.parametrize("name", ["dpo", "ipo"])
def test_preferences_of_bradley_terry_give_the_tilted_reference(name: str) -> None:
    """All pairs of arms, each way round with its probability: DPO's minimum is ref exp(r / beta) / Z.

    IPO's, with the preference probabilities p of those pairs, regresses h on (p - 1/2) / tau; checked by its residual.
    """
    beta = 0.5
    first, second = (index.flatten() for index in torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"))
    chances = (REWARDS[first] - REWARDS[second]).sigmoid() / 16  # which of the two is preferred, each pair drawn alike
    method = load_preference(name)
    settings = method.Settings(**({"beta": beta} if name == "dpo" else {"tau": beta}))
    ones = torch.ones(16, dtype=torch.long)

    def loss(x: Tensor) -> Tensor:
        logprobs, ref = x.log_softmax(-1), REFERENCE.log()
        pairs = PairLogprobs(
            chosen=logprobs[first],
            rejected=logprobs[second],
            ref_chosen=ref[first],
            ref_rejected=ref[second],
            chosen_lengths=ones,
            rejected_lengths=ones,
        )
        return (method.loss(pairs, settings)[0] * chances).sum()

    logits = REFERENCE.log()
    for _ in range(12):  # Newton's steps; a shift of all logits changes nothing, so the inverse leaves it out
        curvature = torch.autograd.functional.hessian(loss, logits)
        logits = logits - torch.linalg.pinv(torch.as_tensor(curvature), rtol=1e-10) @ gradient(loss, logits)
    tilt = logits.log_softmax(-1) - REFERENCE.log()
    if name == "dpo":
        close(logits.softmax(-1), optimum(beta), 1e-6)
    else:
        # the mean over arms j of (p(i > j) - p(j > i)) / (2 tau) is the centred tilt
        wins = (REWARDS[:, None] - REWARDS[None, :]).sigmoid()
        close(tilt - tilt.mean(), (wins - wins.T).mean(1) / (2 * beta), 1e-6)
