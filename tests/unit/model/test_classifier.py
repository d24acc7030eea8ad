from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tuningfork.errors import ModelError
from tuningfork.model.classifier import Classifier, label_index
from tuningfork.model.hub import transformers_library
from tuningfork.runtime import Runtime

LABELS = {0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE"}
TEXTS = ["the blue vase is blue", "it is red, i think", "green", "what colour is the red kettle ?"]


def store(folder: Path, tokenizer: Any, **options: Any) -> Path:
    """A DistilBERT with random weights and dropout, as a folder."""
    library = transformers_library()
    labels = options.pop("labels", LABELS)
    config = library.DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=16,
        pad_token_id=0, dropout=0.1, seq_classif_dropout=0.2, id2label=labels,
        label2id={name: index for index, name in labels.items()}, **options,
    )  # fmt: skip
    torch.manual_seed(1)
    model = library.DistilBertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_score_is_the_log_odds_of_the_named_label(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    folder = store(tmp_path, tokenizer)
    scores = Classifier.load(folder, "positive", runtime).score(TEXTS)
    model = transformers_library().AutoModelForSequenceClassification.from_pretrained(folder)
    for text, score in zip(TEXTS, scores.tolist(), strict=True):
        probability = model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0, 2].item()
        assert score == pytest.approx(torch.tensor(probability).logit().item(), abs=1e-4)


def test_each_name_finds_its_own_label(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    folder = store(tmp_path, tokenizer, labels={0: "POSITIVE", 1: "NEGATIVE"})
    positive, negative = (Classifier.load(folder, name, runtime).score(TEXTS) for name in ("POSITIVE", "NEGATIVE"))
    torch.testing.assert_close(positive, -negative)
    assert positive.abs().max() > 0.01


def test_scores_do_not_depend_on_batching_or_mode(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    classifier = Classifier.load(store(tmp_path, tokenizer), "POSITIVE", runtime)
    together = classifier.score(TEXTS)
    classifier.batch_size = 1
    classifier.model.train()  # dropout is off in the modules too
    torch.testing.assert_close(classifier.score(TEXTS), together, rtol=0, atol=1e-5)
    assert classifier.score([]).shape == (0,)


def test_sigmoid_heads_are_read_directly(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    folder = store(tmp_path, tokenizer, problem_type="multi_label_classification")
    scores = Classifier.load(folder, "NEUTRAL", runtime).score(TEXTS[:1])
    model = transformers_library().AutoModelForSequenceClassification.from_pretrained(folder)
    expected = model(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0, 1]
    torch.testing.assert_close(scores[0], expected, rtol=0, atol=1e-5)


def test_long_texts_are_cut_to_the_trained_length_and_counted(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    classifier = Classifier.load(store(tmp_path, tokenizer), "POSITIVE", runtime)
    assert classifier.max_length == 16
    long = "red " * 50
    assert classifier.score([long, "red"]).isfinite().all()
    assert classifier.num_truncated == 1


def test_control_tokens_in_a_text_stay_text(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    classifier = Classifier.load(store(tmp_path, tokenizer), "POSITIVE", runtime)
    assert tokenizer.pad_token_id not in classifier._encode("a<|pad|>")


def test_an_unknown_label_is_refused_with_a_suggestion(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    folder = store(tmp_path, tokenizer)
    with pytest.raises(ModelError, match=r"did you mean POSITIVE.*labels: NEGATIVE, NEUTRAL, POSITIVE"):
        Classifier.load(folder, "POSTIVE", runtime)
    with pytest.raises(ModelError, match="labels: LABEL_0, LABEL_1"):
        label_index({0: "LABEL_0", 1: "LABEL_1"}, "POSITIVE")


def test_a_model_without_a_classifier_head_is_refused(tmp_path: Path, tokenizer: Any, runtime: Runtime) -> None:
    library = transformers_library()
    model = library.AutoModelForSequenceClassification.from_pretrained(store(tmp_path, tokenizer))
    model.distilbert.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="lacks the weight"):
        Classifier.load(tmp_path, "POSITIVE", runtime)
