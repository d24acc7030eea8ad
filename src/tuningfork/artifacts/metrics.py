"""The one list of every metric: name, unit, which way is good, definition. The report and the docs are made from it.

A name in `metrics.jsonl` may carry a prefix: `replay/loss` is the loss of the stream `replay`, `monitor/kl` was
measured on the monitor prompts, `gold/right` is a measure of the gold judge, `score/length` a part of the score.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Direction = Literal["higher", "lower", "neither"]
Group = Literal["step", "supervised", "reward model", "policy", "preference", "rollout", "text", "evaluation"]


@dataclass(frozen=True)
class Metric:
    """One number that is measured. `is_charted`: its curve is drawn in the report without being asked for."""

    name: str
    label: str
    unit: str
    direction: Direction
    group: Group
    definition: str
    is_charted: bool = False


# fmt: off
_LIST = (
    # of every optimizer step
    Metric("step", "step", "count", "neither", "step", "optimizer steps done"),
    Metric("seconds", "time", "s", "lower", "step", "wall-clock time of this step, sampling and scoring included"),
    Metric("samples", "samples", "count", "neither", "step", "rows in the batches of this step"),
    Metric("tokens", "tokens", "count", "neither", "step", "real tokens (no padding) in the batches of this step"),
    Metric("loss", "loss", "nats", "lower", "step",
           "the main stream's loss; for PPO near 0 and no measure of success", True),
    Metric("learning_rate", "learning rate", "", "neither", "step", "the schedule's rate before group multipliers"),
    Metric("gradient_norm", "gradient norm", "", "neither", "step",
           "norm of the whole gradient before clipping; spikes mean trouble", True),
    # language modelling
    Metric("nll", "negative log-likelihood", "nats/token", "lower", "supervised",
           "minus the mean log-probability of a target token"),
    Metric("token_accuracy", "token accuracy", "share", "higher", "supervised",
           "share of target tokens that were the likeliest", True),
    Metric("perplexity", "perplexity", "", "lower", "supervised",
           "exp of the negative log-likelihood on held-out text", True),
    Metric("bits_per_byte", "bits per byte", "bits", "lower", "supervised",
           "negative log-likelihood in bits over bytes of text; compares across tokenizers", True),
    # reward models
    Metric("accuracy", "accuracy", "share", "higher", "reward model",
           "share of pairs or labels decided as the rater did; ties count half", True),
    Metric("score_difference", "score difference", "", "higher", "reward model",
           "score of the chosen text minus that of the rejected one", True),
    # policy methods
    Metric("policy_loss", "policy loss", "", "neither", "policy", "the clipped surrogate alone"),
    Metric("value_loss", "value loss", "", "lower", "policy", "half the squared error of the critic, clipped", True),
    Metric("ratio_mean", "ratio", "", "neither", "policy",
           "new over old probability of a sampled token; 1 before the first update"),
    Metric("ratio_max", "largest ratio", "", "neither", "policy", "largest ratio in the step"),
    Metric("approx_kl", "KL of the update", "nats/token", "neither", "policy",
           "k3 estimate of KL(old || new) within one batch of rollouts", True),
    Metric("clip_fraction", "clip fraction", "share", "neither", "policy",
           "share of tokens whose ratio left the clip range; 0.02 to 0.2 is usual", True),
    Metric("clip_fraction_high", "clip fraction above", "share", "neither", "policy",
           "share of tokens of better responses whose ratio rose over the clip range"),
    Metric("clip_fraction_low", "clip fraction below", "share", "neither", "policy",
           "share of tokens of worse responses whose ratio fell under the clip range"),
    Metric("baseline_mean", "baseline", "", "neither", "policy", "mean of what returns are compared with"),
    Metric("overlong_penalty", "overlong penalty", "", "higher", "policy",
           "mean of what was added to scores of responses near the length limit"),
    Metric("pairs", "pairs", "count", "neither", "policy", "prompts whose best and worst response make a pair"),
    Metric("value_clip_fraction", "value clip fraction", "share", "neither", "policy",
           "share of tokens whose value left its clip range"),
    Metric("old_new_gap", "log-prob gap", "nats", "neither", "policy",
           "mean difference of a token's log-prob from the one recorded before the update"),
    Metric("old_new_gap_max", "largest log-prob gap", "nats", "neither", "policy",
           "largest difference of a token's log-prob from the one recorded before the update"),
    Metric("entropy", "entropy", "nats/token", "neither", "policy",
           "entropy of the policy where it sampled; a collapse means that it repeats itself", True),
    Metric("explained_variance", "explained variance", "share", "higher", "policy",
           "share of the returns' variance that the critic foresaw; 0 is no better than their mean", True),
    Metric("value_mean", "value", "", "neither", "policy", "mean of the critic's values"),
    Metric("return_mean", "return", "", "higher", "policy", "mean of the returns the critic learns"),
    Metric("kl_clamp_fraction", "KL clamp rate", "share", "lower", "policy",
           "share of tokens whose log-ratio was clamped in k2 or k3"),
    # preference methods
    Metric("preference_loss", "loss on preferences", "", "lower", "preference",
           "the method's loss without likelihood terms; log 2 for DPO before the first update", True),
    Metric("rating_error", "rating error", "deviations", "lower", "reward model",
           "mean distance of the score from the standardised rating"),
    Metric("margin", "margin", "", "higher", "preference",
           "how far the chosen response is ahead of the rejected one, in the method's own units", True),
    Metric("chosen_nll", "likelihood term", "nats/token", "lower", "preference",
           "minus the log-probability a token of the chosen response"),
    Metric("chosen_logprob", "chosen log-prob", "nats/response", "higher", "preference",
           "log-probability of the chosen (or desirable) response, summed over its tokens"),
    Metric("rejected_logprob", "rejected log-prob", "nats/response", "neither", "preference",
           "log-probability of the rejected (or undesirable) response, summed over its tokens"),
    Metric("chosen_shift", "shift of the chosen", "nats/response", "higher", "preference",
           "log-probability of the chosen (or desirable) response, less that before training; often below 0", True),
    Metric("rejected_shift", "shift of the rejected", "nats/response", "lower", "preference",
           "log-probability of the rejected (or undesirable) response, less that before training", True),
    Metric("length_gap", "length gap", "tokens", "neither", "preference",
           "tokens of the chosen response less those of the rejected one"),
    Metric("start_gap_max", "largest log-prob gap", "nats/token", "lower", "preference",
           "largest difference a token between the policy before any update and the log-probs recorded"),
    Metric("start_loss_gap_max", "largest gap of a loss", "", "lower", "preference",
           "largest difference of a loss from what it is where the policy is the reference; first step only"),
    Metric("reference_kl", "KL that KTO measures from", "nats/response", "neither", "preference",
           "mean log-ratio of responses to other prompts, before it is kept at 0 or more"),
    # rollouts
    Metric("iteration", "iteration", "count", "neither", "rollout", "batches of rollouts so far"),
    Metric("score_mean", "score (proxy)", "", "higher", "rollout",
           "mean raw score of the reward on sampled responses: what is optimised, not what is wanted", True),
    Metric("score_std", "score deviation", "", "neither", "rollout",
           "standard deviation of the scores; 0 means nothing can be learned, absent below two scores"),
    Metric("zero_variance_groups", "groups of one score", "share", "lower", "rollout",
           "share of prompts whose responses all have one score, so that nothing is learnt from comparing them", True),
    Metric("sampled_groups", "prompts sampled", "count", "neither", "rollout",
           "prompts answered until enough had responses of different scores"),
    Metric("reward_mean", "reward", "", "higher", "rollout", "mean normalised score less the price of KL", True),
    Metric("kl", "KL to the reference", "nats/response", "neither", "rollout",
           "k1 summed over a response: how far the policy went from where it began", True),
    Metric("kl_per_token", "KL a token", "nats/token", "neither", "rollout", "k1 averaged over tokens"),
    Metric("kl_coefficient", "KL coefficient", "", "neither", "rollout", "reward taken per nat of KL (beta)"),
    Metric("response_length", "response length", "tokens", "neither", "rollout",
           "mean tokens of a response, its end token included; steady growth means length hacking", True),
    Metric("response_length_max", "longest response", "tokens", "neither", "rollout", "tokens of the longest response"),
    Metric("eos", "ended by itself", "share", "higher", "rollout",
           "share of responses that ended before the length limit", True),
    Metric("clipped_rewards", "clipped scores", "share", "lower", "rollout", "share of scores that were clipped"),
    Metric("unscorable", "unscorable", "share", "lower", "rollout",
           "share of responses without a score; they take no part in training"),
    Metric("sampler_gap", "sampler gap", "nats", "lower", "rollout",
           "largest difference between the sampler's log-probs and those of the training forward"),
    Metric("rollout_seconds", "sampling time", "s", "lower", "rollout",
           "time to sample and score a batch of responses"),
    Metric("scoring_seconds", "forward time", "s", "lower", "rollout",
           "time of the forwards of policy, reference and critic over a batch of responses"),
    Metric("gold_mean", "gold", "", "higher", "rollout",
           "mean verdict of the gold judge on monitor prompts; never part of the reward", True),
    Metric("kl_bound", "KL bound of best of n", "nats/response", "neither", "rollout",
           "log n - (n - 1) / n: most that choosing the best of n responses can leave the model by"),
    Metric("length_warning", "length warning", "", "lower", "rollout",
           "1 where responses are far longer or shorter than before training, else 0"),
    Metric("repetition_warning", "repetition warning", "", "lower", "rollout",
           "1 where responses repeat themselves far more than before training, else 0"),
    # texts
    Metric("distinct_2", "variety (distinct-2)", "share", "neither", "text",
           "different word pairs over all word pairs of all answers"),
    Metric("repetition_3", "repetition", "share", "lower", "text",
           "share of a text's three-token runs that occurred in it before"),
    Metric("eos_rate", "ended by itself", "share", "higher", "text",
           "share of answers that ended before the length limit"),
    # evaluation
    Metric("win_rate", "win rate", "share", "higher", "evaluation",
           "share of prompts where the answer after is preferred; ties count half"),
    Metric("perplexity_ratio", "perplexity ratio", "", "lower", "evaluation",
           "perplexity after over perplexity before, on held-out text"),
    Metric("kl_per_sequence", "KL of a response", "nats", "neither", "evaluation",
           "mean over fresh samples, at their temperature, of the log-probability ratio after / before, summed over the response"),
    Metric("kl_least", "least KL", "nats", "neither", "evaluation",
           "KL of one yes-or-no choice that would buy the same change of the headline share"),
)
# fmt: on

METRICS = {metric.name: metric for metric in _LIST}

_PREFIXES = {
    "gold": ("gold: {}", "{} by the gold judge, on prompts that are neither trained on nor in the test"),
    "score": ("score: {}", "the part {} of the score"),
}


def find_metric(name: str) -> Metric | None:
    """The metric of this name, prefix included; None for one that is not in the list."""
    prefix, slash, rest = name.partition("/")
    if not slash:
        return METRICS.get(name)
    if prefix in _PREFIXES:
        label, definition = (text.format(rest.replace("_", " ")) for text in _PREFIXES[prefix])
        return Metric(name, label, "", "neither", "rollout", definition, is_charted=True)
    known = METRICS.get(rest)
    charted = rest == "loss" or prefix == "monitor"
    return known and replace(known, name=name, label=f"{prefix}: {known.label}", is_charted=charted)


def markdown_table() -> str:
    """The list as a Markdown table, for the docs."""
    lines = ["| name | unit | good is | definition |", "|---|---|---|---|"]
    lines += [f"| `{m.name}` | {m.unit or '-'} | {m.direction} | {m.definition} |" for m in _LIST]
    return "\n".join(lines) + "\n"
