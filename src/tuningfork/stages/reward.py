"""Train a reward model from judgements (which of two answers is better) or from labelled texts, and check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tuningfork.data.reading import ReadingSettings
from tuningfork.methods import pairwise
from tuningfork.model.settings import AdapterSettings, Full
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext
from tuningfork.train.settings import OptimizerSettings, ReplaySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuningfork.data.reader import Dataset
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.streams.judgements import JudgedPair, JudgedText, LabelledText


class ContrastSettings(Settings):
    """A gate on pairs of known order: does the reward know each kind of difference, also where it was not trained?"""

    data: Input
    """rows `{"name", "group", "prompt", "better", "worse"}`"""
    group: str = "held_out"
    """only rows of this group count for the gate; the others are reported"""
    minimum: dict[str, float]
    """contrast name -> least share in the right order"""


class LabelSettings(Settings):
    """How labelled texts are read."""

    window: tuple[int, int] = (20, 200)
    """least and most tokens of the random window that each draw of a text shows"""
    whole_minimum: float = Field(default=0.85, ge=0, le=1)
    """least accuracy on whole held-out texts"""
    short_minimum: float = Field(default=0.72, ge=0, le=1)
    """least accuracy on windows of `short_words` words"""
    short_words: int = Field(default=36, ge=1)
    """words in a short window"""


class StageSettings(Settings):
    """Settings of the stage `reward`."""

    model: Input = "sft/model"
    """model to start from; its trunk becomes the reward model's"""
    data: Input
    """judgements, rows of a preference, ranking or tree, e.g. `{"prompt", "chosen", "rejected"}`, or labelled rows
    `{"text", "label"}`"""
    reading: ReadingSettings = ReadingSettings()
    """what to make of the rows of `data`"""
    heldout: Input | None = None
    """labelled rows to measure on; judgements are split by root instead"""
    holdout_share: float = Field(default=0.1, gt=0, lt=1)
    """share of the roots whose judgements are held out"""
    adapter: AdapterSettings = Full()
    """what to train besides the head"""
    pooling: Literal["last", "mean_response", "mean_all"] = "last"
    """where the score is read: the last token, the mean over response tokens, or over all tokens"""
    head_init: Literal["normal", "zero"] = "normal"
    """weights the new head starts with: `normal` with std 1 / sqrt(d + 1), or `zero`, with which a trunk that learns fast is
    not driven in a random direction first"""
    loss: pairwise.Settings = pairwise.Settings()
    """Bradley-Terry options"""
    labels: LabelSettings | None = None
    """how labelled texts are read; only with labelled rows"""
    epochs: float = Field(default=1.0, gt=0)
    """passes over the judgements"""
    batch_rows: int = Field(default=64, ge=1)
    """pairs or texts per step"""
    micro_batch: int | None = Field(default=None, ge=1)
    """pairs or texts per forward pass; the gradient does not depend on it"""
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=3e-4, head_multiplier=3.0)
    """learning rate and its schedule"""
    replay: ReplaySettings | None = None
    """earlier text trained beside the judgements, which keeps what the trunk knows"""
    minimum_accuracy: float = Field(default=0.6, ge=0, le=1)
    """least accuracy on held-out pairs"""
    contrasts: ContrastSettings | None = None
    """a second gate, on pairs of known order"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Train, measure, normalise on ordinary samples, save."""
    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.errors import RecipeError
    from tuningfork.model.loading import load_backbone
    from tuningfork.model.reward_model import RewardModel
    from tuningfork.model.tree import parameter_tree
    from tuningfork.streams.text import replay_stream
    from tuningfork.train.loop import Loop

    source = stage.inputs["data"].reference
    data = settings.reading.open(source, (*RANKING_SHAPES, "labelled"))
    is_labelled = data.shape == "labelled"
    if is_labelled != (settings.labels is not None):
        raise RecipeError(
            f"{source} holds {'labelled texts' if is_labelled else 'judgements'}; "
            f"{'set labels: {...}' if is_labelled else 'remove labels, it has no effect'}"
        )
    backbone = load_backbone(stage.inputs["model"].reference, stage.runtime, adapter=settings.adapter, seed=stage.seed)
    # Labelled texts come as windows from anywhere in a text, so neither BOS nor EOS stands around them.
    template = {"special_tokens": not is_labelled}
    reward_model = RewardModel.create(
        backbone, settings.pooling, seed=stage.seed, template=template, init=settings.head_init
    )
    stage.events.say(parameter_tree(backbone.model, head=reward_model.head))
    task = (_LabelTask if is_labelled else _PairTask)(stage, settings, reward_model, data)
    streams: list[Any] = [task.stream]
    if settings.replay:
        streams.append(replay_stream(backbone, settings.replay, stage.inputs["replay.data"].reference, stage.seed))
    steps = max(1, round(settings.epochs * task.num_rows / settings.batch_rows))
    Loop(stage, reward_model.modules(), streams, settings.optimizer, steps, label="reward").run()
    task.measure()
    if settings.contrasts:
        _check_contrasts(stage, settings.contrasts, reward_model)
    reward_model.normalise(task.reference_scores())
    reward_model.save(stage.out / "model")


class _PairTask:
    """Bradley-Terry on judgements, split by root."""

    def __init__(self, stage: StageContext, settings: StageSettings, reward_model: RewardModel, data: Dataset) -> None:
        from tuningfork.data.judgements import read_judgements
        from tuningfork.data.stage_audit import audit_stage
        from tuningfork.errors import DataError
        from tuningfork.randomness import derive_seed, uniforms
        from tuningfork.streams.judgements import JudgedPair, PairStream, judged_texts

        self.stage, self.settings, self.reward_model = stage, settings, reward_model
        self.train: list[JudgedPair] = []
        self.heldout: list[JudgedPair] = []
        judgements = read_judgements(data)
        placed = [(f"judgement {judgement.id}", judgement.as_ranking()) for judgement in judgements]
        audit_stage(stage, data, placed, "ranking")
        for judgement in judgements:
            texts = judged_texts(reward_model.backbone, judgement)
            draw = float(uniforms([derive_seed(stage.seed, "holdout", judgement.root)], 0)[0])
            part = self.heldout if draw < settings.holdout_share else self.train
            part.extend(JudgedPair(texts[a], texts[b], judgement.strength) for a, b in judgement.pairs())
        if not self.train or not self.heldout:
            raise DataError(
                f"{len(self.train)} pairs to train on and {len(self.heldout)} held out: give judgements of more roots, "
                "or another holdout_share"
            )
        self.num_rows = len(self.train)
        self.stream = PairStream(
            reward_model,
            self.train,
            settings.loss,
            batch_pairs=settings.batch_rows,
            seed=stage.seed,
            micro_batch=settings.micro_batch,
        )

    def measure(self) -> None:
        """Accuracy on held-out roots, with its interval; ties count half."""
        from tuningfork.evals.statistics import wilson_interval

        chosen = score_texts(self.reward_model, [pair.chosen for pair in self.heldout])
        rejected = score_texts(self.reward_model, [pair.rejected for pair in self.heldout])
        hits = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in zip(chosen, rejected, strict=True))
        accuracy, minimum = hits / len(chosen), self.settings.minimum_accuracy
        low, high = wilson_interval(hits, len(chosen))
        self.stage.figures.update(accuracy=accuracy, accuracy_ci95=[low, high], heldout_pairs=len(chosen))
        self.stage.gate(
            "accuracy",
            accuracy >= minimum,
            f"{accuracy:.3f} of {len(chosen)} held-out pairs in the right order (95 % interval {low:.3f} to {high:.3f}; "
            f"at least {minimum})",
            accuracy=accuracy,
        )

    def reference_scores(self) -> Any:
        """Scores of the held-out texts, on which the scale is fixed."""
        import torch

        return torch.tensor(
            score_texts(self.reward_model, [t for pair in self.heldout for t in (pair.chosen, pair.rejected)])
        )


class _LabelTask:
    """Logistic loss on random windows of labelled texts."""

    def __init__(self, stage: StageContext, settings: StageSettings, reward_model: RewardModel, data: Dataset) -> None:
        from tuningfork.data.stage_audit import audit_stage
        from tuningfork.errors import RecipeError
        from tuningfork.streams.judgements import LabelStream

        assert settings.labels is not None
        if settings.heldout is None:
            raise RecipeError("labelled rows need heldout: a file of labelled rows to measure on")
        self.stage, self.settings, self.labels, self.reward_model = stage, settings, settings.labels, reward_model
        rows = list(data.placed())
        audit_stage(stage, data, rows, "labelled")
        train = _labelled_texts(reward_model, [row for _, row in rows])
        self.num_rows = len(train)
        self.stream = LabelStream(
            reward_model,
            train,
            batch_rows=settings.batch_rows,
            window=settings.labels.window,
            seed=stage.seed,
            micro_batch=settings.micro_batch,
        )

    def measure(self) -> None:
        """Accuracy on whole texts (mean over consecutive windows) and on single short windows."""
        from tuningfork.data.jsonl import read_jsonl

        rows = read_jsonl(self.stage.inputs["heldout"].reference, required=("text", "label"))
        labels = [label_value(row["label"]) for row in rows]
        whole = [self._score_whole(row["text"]) for row in rows]
        words = self.labels.short_words
        short_texts = [" ".join(row["text"].split()[:words]) for row in rows]
        short = score_texts(self.reward_model, _as_texts(self.reward_model, short_texts))
        self.scores = short
        for name, scores, minimum in (
            ("accuracy_whole", whole, self.labels.whole_minimum),
            (f"accuracy_{words}_words", short, self.labels.short_minimum),
        ):
            accuracy = sum((s > 0) == (y > 0.5) for s, y in zip(scores, labels, strict=True)) / len(labels)
            self.stage.figures[name] = accuracy
            self.stage.gate(
                name, accuracy >= minimum, f"{accuracy:.3f} of {len(labels)} held-out texts (at least {minimum})"
            )

    def _score_whole(self, text: str) -> float:
        (ids,) = self.reward_model.backbone.encode([text])
        length = self.labels.window[1]
        windows = [ids[a : a + length] for a in range(0, len(ids), length)]
        from tuningfork.streams.judgements import JudgedText

        scores = score_texts(self.reward_model, [JudgedText([], window) for window in windows])
        return sum(s * len(w) for s, w in zip(scores, windows, strict=True)) / len(ids)

    def reference_scores(self) -> Any:
        """Scores of short windows, on which the scale is fixed."""
        import torch

        return torch.tensor(self.scores)


def label_value(label: Any) -> float:
    """1 for good and 0 for bad, from `pos`/`neg`, booleans or numbers in [0, 1]."""
    from tuningfork.errors import DataError

    named = {"pos": 1.0, "positive": 1.0, "neg": 0.0, "negative": 0.0}
    if isinstance(label, str) and label.lower() in named:
        return named[label.lower()]
    if isinstance(label, int | float) and 0 <= label <= 1:
        return float(label)
    raise DataError(f"label {label!r} is neither pos/neg nor a number from 0 to 1")


def score_texts(reward_model: RewardModel, texts: Sequence[JudgedText], batch_rows: int = 128) -> list[float]:
    """Scores of texts, in batches of similar length, in the order given."""
    import torch

    from tuningfork.streams.judgements import collate_texts

    order = sorted(range(len(texts)), key=lambda index: len(texts[index].prompt) + len(texts[index].response))
    scores = [0.0] * len(texts)
    for start in range(0, len(order), batch_rows):
        part = order[start : start + batch_rows]
        ids, mask, response = collate_texts([texts[index] for index in part], reward_model.backbone.pad_id)
        device = reward_model.backbone.device
        with torch.no_grad():
            values = reward_model.score(ids.to(device), mask.to(device), response.to(device)).tolist()
        for index, value in zip(part, values, strict=True):
            scores[index] = value
    return scores


def _labelled_texts(reward_model: RewardModel, rows: Sequence[dict[str, Any]]) -> list[LabelledText]:
    from tuningfork.streams.judgements import LabelledText

    encoded = reward_model.backbone.encode([row["text"] for row in rows])
    return [LabelledText(ids, label_value(row["label"])) for ids, row in zip(encoded, rows, strict=True) if ids]


def _as_texts(reward_model: RewardModel, texts: list[str]) -> list[JudgedText]:
    from tuningfork.streams.judgements import JudgedText

    return [JudgedText([], ids) for ids in reward_model.backbone.encode(texts)]


def _check_contrasts(stage: StageContext, settings: ContrastSettings, reward_model: RewardModel) -> None:
    """Share of pairs of known order that the reward gets right, by kind of difference and group."""
    from tuningfork.data.jsonl import read_jsonl
    from tuningfork.streams.judgements import JudgedText

    rows = read_jsonl(stage.inputs["contrasts.data"].reference, required=("name", "group", "prompt", "better", "worse"))
    backbone = reward_model.backbone
    prompts = [[*backbone.start_ids, *ids] for ids in backbone.encode([row["prompt"] for row in rows])]
    scores = []
    for side in ("better", "worse"):
        responses = [[*ids, backbone.eos_id] for ids in backbone.encode([row[side] for row in rows])]
        scores.append(score_texts(reward_model, [JudgedText(p, r) for p, r in zip(prompts, responses, strict=True)]))
    right: dict[tuple[str, str], list[bool]] = {}
    for row, better, worse in zip(rows, *scores, strict=True):
        right.setdefault((row["group"], row["name"]), []).append(better > worse)
    shares = {key: sum(values) / len(values) for key, values in right.items()}
    stage.figures["contrasts"] = {f"{group}/{name}": share for (group, name), share in sorted(shares.items())}
    for name, minimum in settings.minimum.items():
        share = shares.get((settings.group, name), 0.0)
        stage.gate(
            f"contrast {name}",
            share >= minimum,
            f"{share:.3f} of {settings.group} pairs in the right order (at least {minimum})",
        )
