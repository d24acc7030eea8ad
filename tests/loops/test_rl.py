"""The RL stage on a tiny model: it raises what is rewarded, stays where KL is dear, and notices its own faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tuningfork.errors import Interrupted, RecipeError, RunError
from tuningfork.stages import rl
from tuningfork.stages.rl import StageSettings

PROMPTS = [
    {"id": f"p{n}", "prompt": f"what colour is the {word}?\n", "root": word}
    for n, word in enumerate(("cat", "mat", "cap", "map"))
]


@pytest.fixture
def folder(tmp_path: Path, tiny_backbone: Any) -> Path:
    """A model, prompts, and a word list that rewards `red`."""
    tiny_backbone.save(tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROMPTS))
    (tmp_path / "words.yaml").write_text("e: 1.0\n")
    return tmp_path


def settings(folder: Path, **changes: Any) -> StageSettings:
    values: dict[str, Any] = {
        "policy": str(folder / "model"),
        "prompts": str(folder / "prompts.jsonl"),
        "reward": {"name": "function", "function": f"{folder / 'reward.py'}:score"},
        "method": {"name": "ppo", "epochs": 2},
        "adapter": {"kind": "lora", "r": 4, "targets": ["all", "head"]},
        "iterations": 15,
        "prompts_per_iteration": 4,
        "samples_per_prompt": 8,
        "sampling": {"max_new_tokens": 6},
        "kl": {"coefficient": 0.01},
        "scale_reward": {"samples": 8},
        "shaping": {"missing_eos_score": None},
        "rehearsal": None,  # the reward of vowels is hackable; tests/unit/evals/test_rehearsal.py is about that
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant", "warmup": 0, "eps": 1e-5},
    }
    return StageSettings.model_validate(values | changes)


def run(make_stage: Callable[..., Any], folder: Path, chosen: StageSettings, name: str = "stage") -> Any:
    reward = folder / "reward.py"
    if not reward.exists():
        reward.write_text(
            "def score(prompt, response, metadata):\n"
            "    return sum(c in 'acegikmo' for c in response.lower()) / (1 + len(response))\n"
        )
    inputs = {"policy": folder / "model", "prompts": folder / "prompts.jsonl", "reward.function": reward}
    stage = make_stage(name, inputs)
    rl.run(stage, chosen)
    return stage


def weights(stage: Any) -> bytes:
    return (stage.out / "model" / "model.safetensors").read_bytes()


def test_what_is_rewarded_becomes_more(make_stage: Any, folder: Path) -> None:
    rows = run(make_stage, folder, settings(folder)).events.rows
    scores = [row["score_mean"] for row in rows if "score_mean" in row]
    assert len(scores) == 15
    assert sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.1
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4) and rows[-1 if "kl" in rows[-1] else -2]["kl"] > 0.01
    assert abs(rows[0]["ratio_mean"] - 1) < 1e-5 and rows[0]["approx_kl"] < 1e-8


GROUPS = ("cispo", "dapo", "dr_grpo", "grpo", "gspo", "online_dpo", "rloo")
OPTIONS: dict[str, dict[str, Any]] = {
    "dapo": {"overlong_share": None},
    "gspo": {"clip_low": 0.1, "clip_high": 0.1},
    "online_dpo": {"beta": 0.02},
}


def without_kl(folder: Path, **changes: Any) -> StageSettings:
    """`settings` without a price of KL, for methods that charge none."""
    values = settings(folder, **changes).model_dump(exclude_unset=True)
    del values["kl"]
    return StageSettings.model_validate(values)


@pytest.mark.parametrize("name", ["a2c", "reinforce", *GROUPS])
def test_every_method_raises_what_is_rewarded(make_stage: Any, folder: Path, name: str) -> None:
    charges = name in ("a2c", "reinforce", "grpo", "rloo")
    build = settings if charges else without_kl
    rows = run(
        make_stage, folder, build(folder, method={"name": name, **OPTIONS.get(name, {})}, iterations=20)
    ).events.rows
    scores = [row["score_mean"] for row in rows if "score_mean" in row]
    assert len(scores) == 20 and sum(scores[-3:]) / 3 > sum(scores[:3]) / 3 + 0.05
    first = rows[0]
    assert abs(first["ratio_mean"] - 1) < 1e-5 and first["approx_kl"] < 1e-8 and first["zero_variance_groups"] < 1
    assert ("kl" in first) is (charges or name == "online_dpo")
    if name == "online_dpo":
        assert first["preference_loss"] == pytest.approx(0.6931472, abs=1e-5)


def test_a_method_without_kl_never_looks_at_the_reference(
    make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuningfork.streams.rollouts import Actor

    original, roles = Actor.forward, []

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        roles.append(bool(options.get("reference")))
        assert self.value_head is None
        return original(self, *arguments, **options)

    monkeypatch.setattr(Actor, "forward", watched)
    stage = run(make_stage, folder, without_kl(folder, method={"name": "dr_grpo"}, iterations=2))
    assert roles and not any(roles)
    assert not (stage.out / "model" / "value_head.safetensors").exists()


def test_the_critic_stays_with_the_model(make_stage: Any, folder: Path) -> None:
    from tuningfork.model.heads import ValueHead

    stage = run(make_stage, folder, settings(folder, method={"name": "a2c"}, iterations=2))
    head = ValueHead.load(stage.out / "model")
    assert head.out.weight.abs().max() > 0


@pytest.mark.parametrize("name", GROUPS)
def test_micro_batches_do_not_change_a_step_of_a_group_method(make_stage: Any, folder: Path, name: str) -> None:
    build = settings if name in ("grpo", "rloo") else without_kl
    chosen = {"method": {"name": name, **OPTIONS.get(name, {})}, "iterations": 2}
    whole = run(make_stage, folder, build(folder, **chosen), "whole").events.rows
    split = run(make_stage, folder, build(folder, micro_batch=3, **chosen), "split").events.rows
    for row, other in zip(whole, split, strict=True):
        for key in ("loss", "gradient_norm"):
            assert row[key] == pytest.approx(other[key], rel=1e-3, abs=1e-6), key


def test_a_greedy_baseline_is_the_score_of_the_greedy_responses(make_stage: Any, folder: Path) -> None:
    method = {"name": "reinforce", "baseline": "greedy"}
    stage = run(make_stage, folder, settings(folder, method=method, iterations=1))
    from tuningfork.evals.answers import answer_prompts
    from tuningfork.model.loading import load_backbone
    from tuningfork.rollout.settings import SamplingSettings
    from tuningfork.runtime import Runtime

    backbone = load_backbone(str(folder / "model"), Runtime("cpu", "fp32", 1))
    greedy = SamplingSettings(max_new_tokens=6, greedy=True)
    answers = answer_prompts(backbone, PROMPTS, greedy, seed=0, purpose="any").answers
    raw = [sum(c in "acegikmo" for c in a.text.lower()) / (1 + len(a.text)) for a in answers]
    mean, deviation = stage.figures["reference_mean"], stage.figures["reference_deviation"]
    expected = sum((score - mean) / deviation for score in raw) / 4
    assert stage.events.rows[0]["baseline_mean"] == pytest.approx(expected, abs=1e-5)


def test_a_moving_average_goes_on_after_a_cut(make_stage: Any, folder: Path) -> None:
    chosen = settings(folder, method={"name": "reinforce", "decay": 0.5}, iterations=6)
    straight = run(make_stage, folder, chosen, "straight")
    baselines = [row["baseline_mean"] for row in straight.events.rows]
    returns = [row["return_mean"] for row in straight.events.rows]
    assert baselines[0] == 0.0 and baselines[1] == pytest.approx(returns[0], rel=1e-5)
    assert baselines[2] == pytest.approx((0.25 * returns[0] + 0.5 * returns[1]) / 0.75, rel=1e-5)
    inputs = {"policy": folder / "model", "prompts": folder / "prompts.jsonl", "reward.function": folder / "reward.py"}
    stage = make_stage("cut", inputs)
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 3 else None
    with pytest.raises(Interrupted):
        rl.run(stage, chosen)
    assert weights(run(make_stage, folder, chosen, "cut")) == weights(straight)


def dull_reward(folder: Path, dull: str) -> None:
    (folder / "reward.py").write_text(
        "def score(prompt, response, metadata):\n"
        f"    return 0.5 if metadata['root'] in {dull!r} else sum(c in 'acegikmo' for c in response) / (1 + len(response))\n"
    )


def test_prompts_of_one_score_are_dropped_and_others_sampled(make_stage: Any, folder: Path) -> None:
    dull_reward(folder, "cat mat")
    method = {"name": "dapo", "overlong_share": None, "resampling": 2}
    stage = run(make_stage, folder, without_kl(folder, method=method, iterations=2))
    for row in stage.events.rows:
        assert row["zero_variance_groups"] == 0.5 and row["sampled_groups"] == 8
        assert row["samples"] == 4 * 8, "two prompts of each round, until there are four"


def test_without_resampling_fewer_prompts_are_trained_on(make_stage: Any, folder: Path) -> None:
    dull_reward(folder, "cat mat cap")
    method = {"name": "dapo", "overlong_share": None, "resampling": 0}
    chosen = without_kl(folder, method=method, iterations=2, minibatches=16)
    rows = run(make_stage, folder, chosen).events.rows
    assert all(row["samples"] == 1 for row in rows) and len(rows) == 16, "8 responses fill 8 of 16 mini-batches"
    assert rows[0]["zero_variance_groups"] == 0.75 and rows[0]["sampled_groups"] == 4


def test_where_all_prompts_are_of_one_score_nothing_moves(make_stage: Any, folder: Path) -> None:
    dull_reward(folder, "cat mat cap map")
    method = {"name": "dapo", "overlong_share": None, "resampling": 1}
    chosen = without_kl(folder, method=method, iterations=2, scale_reward={"by": "none"})
    rows = run(make_stage, folder, chosen).events.rows
    assert [row["gradient_norm"] for row in rows] == [0.0, 0.0] and rows[0]["zero_variance_groups"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": {"name": "grpo"}, "samples_per_prompt": 1}, "samples_per_prompt: grpo compares responses"),
        ({"method": {"name": "a2c"}, "minibatches": 2}, "minibatches: a2c takes one step"),
        ({"method": {"name": "reinforce"}, "value": {"head": "linear"}}, "rl.value has no effect: reinforce"),
        ({"method": {"name": "dapo"}}, "rl.kl has no effect: dapo"),
        ({"method": {"name": "online_dpo"}}, "rl.kl has no effect: online_dpo"),
        ({"method": {"name": "rloo", "kl_in": "none"}}, "rl.kl has no effect: rloo"),
    ],
)
def test_settings_without_effect_are_refused(
    make_stage: Any, folder: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run(make_stage, folder, settings(folder, **changes))


def test_filters_of_sampling_are_warned_of(make_stage: Any, folder: Path) -> None:
    stages = [
        run(make_stage, folder, settings(folder, iterations=1, sampling={"max_new_tokens": 6, **more}), name)
        for name, more in (("plain", {"temperature": 0.9}), ("filtered", {"top_p": 0.8}))
    ]
    assert [any("warning: rl.sampling.top_p" in text for text in stage.events.said) for stage in stages] == [
        False,
        True,
    ]


def test_with_dear_kl_the_policy_stays(make_stage: Any, folder: Path) -> None:
    slow = {"learning_rate": 2e-3, "schedule": "constant", "warmup": 0, "eps": 1e-5}
    dear = settings(folder, kl={"coefficient": 5.0}, optimizer=slow, method={"name": "ppo", "whiten_advantages": False})
    rows = run(make_stage, folder, dear).events.rows
    free = run(make_stage, folder, settings(folder), "free").events.rows
    kl = [max(row["kl"] for row in some if "kl" in row) for some in (rows, free)]
    assert kl[0] < 0.1 * kl[1]


def test_chunks_do_not_change_the_run(make_stage: Any, folder: Path) -> None:
    whole = run(make_stage, folder, settings(folder, iterations=2), "whole")
    chunks = run(make_stage, folder, settings(folder, iterations=2, chunk=4), "chunks")
    first, second = ([row["score_mean"] for row in s.events.rows if "score_mean" in row] for s in (whole, chunks))
    assert first == pytest.approx(second)


def test_micro_batches_do_not_change_the_run(make_stage: Any, folder: Path) -> None:
    whole = run(make_stage, folder, settings(folder, iterations=1), "whole").events.rows
    split = run(make_stage, folder, settings(folder, iterations=1, micro_batch=3), "split").events.rows
    for row, other in zip(whole, split, strict=True):
        for name in ("loss", "gradient_norm", "approx_kl", "value_loss"):
            assert row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-6), name


def test_a_cut_run_goes_on_to_the_same_bits(make_stage: Any, folder: Path) -> None:
    chosen = settings(folder, iterations=4, kl={"coefficient": 0.1, "target": 0.5, "horizon": 64})
    straight = run(make_stage, folder, chosen, "straight")
    stage = make_stage(
        "cut",
        {"policy": folder / "model", "prompts": folder / "prompts.jsonl", "reward.function": folder / "reward.py"},
    )
    stage.events.on_log = lambda step: stage.stop.set("test") if step == 3 else None
    with pytest.raises(Interrupted):
        rl.run(stage, chosen)
    resumed = run(make_stage, folder, chosen, "cut")
    assert weights(resumed) == weights(straight)
    beta = [row["kl_coefficient"] for row in straight.events.rows if "kl_coefficient" in row]
    assert len(set(beta)) == 4, "the coefficient moves, so a lost controller would show"
    assert [row["kl_coefficient"] for row in resumed.events.rows if "kl_coefficient" in row] == beta[2:]


def test_epochs_end_early_once_the_policy_went_too_far(make_stage: Any, folder: Path) -> None:
    method = {"name": "ppo", "epochs": 4, "target_kl": 1e-12}
    rows = run(make_stage, folder, settings(folder, iterations=3, method=method)).events.rows
    assert [row["step"] for row in rows] == [1, 2, 5, 6, 9, 10], "one step to move, one to notice"


def test_a_dead_reward_is_refused_before_training(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text("def score(prompt, response, metadata):\n    return 1.0\n")
    with pytest.raises(RunError, match="the reward is dead"):
        run(make_stage, folder, settings(folder))


def test_too_many_unscorable_responses_stop_the_run(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text(
        "def score(prompt, response, metadata):\n    return len(response) if metadata['root'] == 'cat' else None\n"
    )
    reward = {"name": "function", "function": f"{folder / 'reward.py'}:score", "max_unscorable": 1.0}
    with pytest.raises(RunError, match=r"could not score 24 of 32 responses \(at most 50% may be unscorable"):
        run(make_stage, folder, settings(folder, reward=reward, scale_reward={"by": "none"}))
    allowed = settings(folder, reward=reward, max_unscorable=0.75, iterations=1, scale_reward={"by": "none"})
    run(make_stage, folder, allowed, "allowed")


def test_unscorable_responses_take_no_part(make_stage: Any, folder: Path) -> None:
    (folder / "reward.py").write_text(
        "def score(prompt, response, metadata):\n"
        "    share = sum(c in 'acegikmo' for c in response.lower()) / (1 + len(response))\n"
        "    return None if metadata['root'] == 'cat' else share\n"
    )
    reward = {"name": "function", "function": f"{folder / 'reward.py'}:score", "max_unscorable": 0.5}
    rows = run(make_stage, folder, settings(folder, iterations=2, reward=reward)).events.rows
    assert all(row["unscorable"] == pytest.approx(0.25) for row in rows if "unscorable" in row)


def test_a_policy_that_is_not_its_own_reference_is_noticed(
    make_stage: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shifted log-prob in the second forward stands for dropout, a wrong temperature, a shifted mask."""
    from tuningfork.streams.rollouts import Actor

    original = Actor.forward

    def drifting(self: Any, *arguments: Any, **options: Any) -> Any:
        found = original(self, *arguments, **options)
        if torch.is_grad_enabled():
            object.__setattr__(found, "logprobs", found.logprobs + 0.01)
        return found

    monkeypatch.setattr(Actor, "forward", drifting)
    with pytest.raises(RunError, match="before any update the policy's log-probs differ"):
        run(make_stage, folder, settings(folder))


def test_the_critic_does_not_see_the_action(tiny_backbone: Any) -> None:
    """Values and log-probs of a token come from the column before it: the last token changes neither its own value."""
    from tuningfork.batch import Needs
    from tuningfork.model.heads import ValueHead
    from tuningfork.rollout.rollout import Rollout, Segment, collate
    from tuningfork.streams.rollouts import Actor

    head = ValueHead(tiny_backbone.hidden_size, "linear")
    torch.nn.init.normal_(head.out.weight)

    def values(last: int) -> torch.Tensor:
        segments = (Segment("user", [1, 30, 31]), Segment("assistant", [40, last], True, 1.0, [0.0, 0.0]))
        rollout = Rollout(segments, "p", 0, "p", 0, 0, "stop")
        with torch.no_grad():
            found = Actor(tiny_backbone, head).forward(
                collate([rollout], tiny_backbone.pad_id), Needs(values=True), 1.0
            )
        assert found.values is not None
        return found.values[0]

    one, other = values(50), values(60)
    assert one[:3].eq(0).all() and one[3:].ne(0).all()
    assert torch.equal(one, other)


def test_a_reward_paid_by_prefixes_is_the_same_reward(make_stage: Any, folder: Path, tiny_backbone: Any) -> None:
    """The scores do not change, the advantages do, and the policy still learns what is rewarded."""
    from tuningfork.model.reward_model import RewardModel

    reward_model = RewardModel.create(tiny_backbone, seed=3)
    reward_model.save(folder / "reward")
    inputs = {"policy": folder / "model", "prompts": folder / "prompts.jsonl", "reward.model": folder / "reward"}
    scores, losses = {}, {}
    for prefixes in (False, True):
        stage = make_stage(f"prefixes-{prefixes}", inputs)
        reward = {"name": "learned", "model": str(folder / "reward"), "prefixes": prefixes}
        rl.run(stage, settings(folder, reward=reward))
        rows = [row for row in stage.events.rows if "score_mean" in row]
        scores[prefixes] = [row["score_mean"] for row in rows]
        losses[prefixes] = rows[0]["value_loss"]
    assert scores[True][0] == pytest.approx(scores[False][0], abs=1e-5)
    assert losses[True] != pytest.approx(losses[False], rel=1e-3)
    assert all(sum(found[-3:]) / 3 > found[0] + 0.03 for found in scores.values())
