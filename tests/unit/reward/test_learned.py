"""Rewards that are models: ids against text, padding and order, labels by name."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from tuningfork.errors import ModelError, RecipeError
from tuningfork.model.backbone import Backbone
from tuningfork.model.classifier import Classifier
from tuningfork.model.reward_model import RewardModel
from tuningfork.model.tokenizer import train_tokenizer
from tuningfork.reward import load_reward
from tuningfork.reward.base import Item
from tuningfork.reward.kinds import learned
from tuningfork.reward.kinds.classifier import ClassifierReward
from tuningfork.reward.kinds.classifier import Settings as ClassifierSettings
from tuningfork.reward.kinds.learned import Learned, has_equal_tokens
from tuningfork.reward.settings import RewardSettings
from tuningfork.runtime import Runtime
from tuningfork.stage import ResolvedInput

CPU = Runtime("cpu", "fp32", 1)
TEXTS = ["the sky is blue and the grass is green", "what colour is the sky", "it is azure"] * 4


def config(tokenizer, **options) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=48,
        initializer_range=0.3,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 320)


@pytest.fixture
def model(tokenizer) -> RewardModel:
    torch.manual_seed(0)
    return RewardModel.create(Backbone(LlamaForCausalLM(config(tokenizer)).eval(), tokenizer), seed=0)


def items(model: RewardModel) -> list[Item]:
    texts = [
        ("what colour is the sky", " it is azure"),
        ("the sky", " is"),
        ("grass", " green and blue the"),
        ("sky", " it"),
    ]
    backbone = model.backbone
    made = []
    for prompt, response in texts:
        prompt_ids, response_ids = backbone.encode([prompt, response])
        made.append(Item(prompt, response, {}, [*backbone.start_ids, *prompt_ids], [*response_ids, backbone.eos_id]))
    return made


def alone(model: RewardModel, ids: list[int]) -> float:
    row = torch.tensor([ids])
    everywhere = torch.ones_like(row, dtype=torch.bool)
    with torch.no_grad():
        return float(model.score(row, everywhere, everywhere))


def totals(reward, rows: list[Item]) -> list[float]:
    return [score.total for score in reward.score(rows)]


def test_scores_do_not_depend_on_padding_batch_or_order(model: RewardModel, tokenizer, monkeypatch) -> None:
    rows = items(model)
    wanted = [alone(model, [*(item.prompt_ids or ()), *(item.response_ids or ())]) for item in rows]
    assert max(wanted) - min(wanted) > 0.1
    reward = Learned(model, tokenizer)
    assert totals(reward, rows) == pytest.approx(wanted, abs=1e-5)
    assert totals(reward, rows[::-1]) == pytest.approx(wanted[::-1], abs=1e-5)
    monkeypatch.setattr(learned, "BATCH_TOKENS", 20)
    assert totals(reward, rows) == pytest.approx(wanted, abs=1e-5)


def test_sampled_ids_are_scored_and_not_tokenised_anew(model: RewardModel, tokenizer) -> None:
    """The same text in other tokens, as a sampler may produce it, is another sequence."""
    backbone = model.backbone
    (merged,), spelled = backbone.encode([" sky"]), [i for letter in " sky" for i in backbone.encode([letter])[0]]
    assert merged != spelled
    item = Item("the", " sky", {}, [5], spelled)
    assert totals(Learned(model, tokenizer), [item]) == pytest.approx([alone(model, [5, *spelled])], abs=1e-5)
    as_text = [*backbone.start_ids, *backbone.encode(["the"])[0], *merged, backbone.eos_id]
    assert totals(Learned(model), [item]) == pytest.approx([alone(model, as_text)], abs=1e-5)


def test_tokenizers_are_equal_by_content(model: RewardModel, tokenizer) -> None:
    twin = train_tokenizer(TEXTS, 320)
    twin(["a", "bc"], padding=True, truncation=True, max_length=5)
    assert has_equal_tokens(twin, tokenizer)
    other = train_tokenizer([*TEXTS, "zebra zebra zebra"], 330)
    assert not has_equal_tokens(other, tokenizer)
    assert Learned(model, twin).reads_ids
    assert not Learned(model, other).reads_ids
    assert totals(Learned(model, other), items(model)) == pytest.approx(totals(Learned(model), items(model)))


def test_a_model_of_bare_texts_sees_no_special_tokens(model: RewardModel, tokenizer) -> None:
    model.template["special_tokens"] = False
    (item, *_) = items(model)
    prompt, response = model.backbone.encode([item.prompt, item.response])
    wanted = pytest.approx([alone(model, prompt + response)], abs=1e-5)
    assert totals(Learned(model, tokenizer), [item]) == wanted
    assert totals(Learned(model), [item]) == wanted


@pytest.mark.parametrize("pooling", ["last", "mean_all"])
@pytest.mark.parametrize("has_special_tokens", [True, False])
def test_prefix_scores_are_those_of_the_prefixes_alone(
    model: RewardModel, tokenizer, pooling, has_special_tokens: bool
) -> None:
    model.pooling, model.gain, model.bias = pooling, 2.0, -0.5
    model.template["special_tokens"] = has_special_tokens
    dense, plain = Learned(model, tokenizer, prefixes=True), Learned(model, tokenizer)
    rows = items(model)
    for item, score in zip(rows, dense.score(rows), strict=True):
        response = list(item.response_ids or ())
        cut = [Item(item.prompt, "", {}, item.prompt_ids, response[:n]) for n in range(len(response) + 1)]
        assert score.prefixes is not None
        assert score.prefixes == pytest.approx(totals(plain, cut), abs=1e-5)
        assert score.total == score.prefixes[-1]
        if not has_special_tokens:
            assert score.prefixes[-1] == score.prefixes[-2]  # EOS was not seen


def test_prefixes_need_what_they_are_made_of(model: RewardModel, tokenizer, tmp_path: Path) -> None:
    other = train_tokenizer([*TEXTS, "zebra zebra zebra"], 330)
    with pytest.raises(RecipeError, match="cut texts differently"):
        Learned(model, other, prefixes=True)
    model.pooling = "mean_response"
    model.save(tmp_path / "reward")
    found = {"model": ResolvedInput(str(tmp_path / "reward"), "key", tmp_path / "reward")}
    settings = TypeAdapter(RewardSettings).validate_python({"name": "learned", "model": "x", "prefixes": True})
    with pytest.raises(RecipeError, match="reads the response only"):
        load_reward(settings, {f"reward.{name}": value for name, value in found.items()}, CPU, tokenizer=tokenizer)


@pytest.mark.parametrize("length", [0, 49])
def test_what_does_not_fit_is_unscorable_and_the_rest_is_scored(model: RewardModel, tokenizer, length: int) -> None:
    reward = Learned(model, tokenizer)
    rows = items(model)
    odd = Item("", "", {}, [], [5] * length)
    assert totals(reward, [rows[0], odd, rows[1]]) == pytest.approx(
        [*totals(reward, rows[:1]), None, *totals(reward, rows[1:2])]
    )


def test_an_empty_response_has_no_mean(model: RewardModel, tokenizer) -> None:
    model.pooling = "mean_response"
    rows = [Item("", "", {}, [5, 6], []), items(model)[0]]
    first, second = totals(Learned(model, tokenizer), rows)
    assert first is None
    assert second is not None


def test_an_artifact_is_loaded_with_its_scale(model: RewardModel, tokenizer, tmp_path: Path) -> None:
    model.gain, model.bias = 2.0, -3.0
    wanted = totals(Learned(model, tokenizer), items(model))
    model.save(tmp_path / "model")
    settings = TypeAdapter(RewardSettings).validate_python({"name": "learned", "model": "reward/model"})
    inputs = {"reward.model": ResolvedInput(str(tmp_path / "model"), key="k", path=tmp_path / "model")}
    reward = load_reward(settings, inputs, CPU, tokenizer=copy.deepcopy(tokenizer))
    assert isinstance(reward, Learned)
    assert reward.reads_ids
    assert totals(reward, items(model)) == pytest.approx(wanted, abs=1e-5)


def classifier(tokenizer, label: str, labels: list[str], **options) -> Classifier:
    torch.manual_seed(3)
    names = dict(enumerate(labels))
    made = config(
        tokenizer, num_labels=len(labels), id2label=names, label2id={v: k for k, v in names.items()}, **options
    )
    return Classifier(LlamaForSequenceClassification(made).eval(), copy.deepcopy(tokenizer), label, CPU)


def settings_of(**options) -> ClassifierSettings:
    return ClassifierSettings(model="m", **options)


def test_a_label_is_chosen_by_name_not_by_position(tokenizer) -> None:
    """The same weights with the names swapped: the score of POSITIVE changes its sign."""
    rows = [Item("the sky", " is blue"), Item("the grass", " it is azure")]
    straight = ClassifierReward(
        classifier(tokenizer, "POSITIVE", ["NEGATIVE", "POSITIVE"]), settings_of(label="POSITIVE")
    )
    swapped = ClassifierReward(
        classifier(tokenizer, "POSITIVE", ["POSITIVE", "NEGATIVE"]), settings_of(label="POSITIVE")
    )
    scores = totals(straight, rows)
    assert max(abs(score) for score in scores) > 0.1
    assert totals(swapped, rows) == pytest.approx([-score for score in scores], abs=1e-5)
    with pytest.raises(ModelError, match="did you mean POSITIVE"):
        classifier(tokenizer, "POSITIV", ["NEGATIVE", "POSITIVE"])


def test_log_odds_and_probability_agree_with_the_logits(tokenizer) -> None:
    made = classifier(tokenizer, "good", ["bad", "good", "so so"])
    item = Item("the sky", " is blue")
    with torch.no_grad():
        row = tokenizer("the sky is blue", return_tensors="pt")
        p = made.model(input_ids=row["input_ids"]).logits[0].double().softmax(-1)[1]
    log_odds, probability = (
        totals(ClassifierReward(made, settings_of(label="good", scale=scale)), [item])[0]
        for scale in ("log_odds", "probability")
    )
    assert log_odds == pytest.approx(float((p / (1 - p)).log()), abs=1e-4)
    assert probability == pytest.approx(float(p), abs=1e-4)


def test_what_is_read_is_a_setting(tokenizer) -> None:
    made = classifier(tokenizer, "good", ["bad", "good"])
    item = Item("the sky", " is blue")
    both = ClassifierReward(made, settings_of(label="good"))
    only = ClassifierReward(made, settings_of(label="good", reads="response"))
    assert totals(both, [item]) == pytest.approx(totals(only, [Item("", "the sky is blue")]), abs=1e-5)
    assert totals(both, [item]) != pytest.approx(totals(only, [item]), abs=1e-3)
    assert both.score([]) == []
