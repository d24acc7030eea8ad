"""Examples from judgements, rows of preferences, or single labelled responses; held-out ones share no prompt with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.preference_training.settings import StageSettings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.batch import PreferenceNeeds
    from tuningfork.data.judgements import Judgement
    from tuningfork.data.reader import Dataset
    from tuningfork.model.backbone import Backbone
    from tuningfork.streams.preferences import Example, Examples


def read_examples(
    stage: StageContext, settings: StageSettings, backbone: Backbone, needs: PreferenceNeeds
) -> tuple[list[Example], list[Example]]:
    """Examples to train on and held-out ones, which share no prompt."""
    from tuningfork.errors import DataError

    found = _read(stage, settings, backbone, needs, "data")
    if settings.heldout is None:
        return _split(stage, settings, found)
    heldout = _read(stage, settings, backbone, needs, "heldout")
    asked = {tuple(example.texts[0].prompt) for example in heldout}
    shared = sum(tuple(example.texts[0].prompt) in asked for example in found)
    if shared:
        raise DataError(
            f"{shared:,} of {len(found):,} preferences of data have a prompt of heldout: accuracy on them would be memory; "
            "take them out of one of the two"
        )
    return _enough(stage, found, heldout)


def _read(
    stage: StageContext, settings: StageSettings, backbone: Backbone, needs: PreferenceNeeds, name: str
) -> list[Example]:
    """Examples of the input `name` that can be learnt from; what cannot is counted."""
    from tuningfork.data.adapters import RANKING_SHAPES
    from tuningfork.errors import RecipeError

    data = settings.reading.open(stage.inputs[name].reference, (*RANKING_SHAPES, "unpaired"))
    if data.shape != "unpaired":
        found = _compared(stage, settings, backbone, data, needs, name)
    elif needs.unpaired:
        found = _labelled(stage, backbone, data, name)
    else:
        raise RecipeError(
            f"{data.source} holds single labelled responses; {settings.method.name} compares two: give judgements or "
            "rows with chosen and rejected, or use method: {name: kto}"
        )
    examples = _usable(stage, backbone, found, name)
    return _shuffled(stage, examples) if settings.shuffle_labels and name == "data" else examples


def _shuffled(stage: StageContext, examples: Sequence[Example]) -> list[Example]:
    """The examples with labels that say nothing: half of the pairs, drawn by seed, turned round; single ones' labels permuted."""
    from dataclasses import replace

    from tuningfork.randomness import numpy_generator

    stage.events.say("labels are shuffled: nothing can be learnt from these preferences, which is what is tried")
    draws = numpy_generator(stage.seed, "shuffled labels")
    if examples and len(examples[0].texts) > 1:
        turned = draws.permutation(len(examples)) % 2 == 1
        return [
            replace(one, texts=one.texts[::-1]) if turn else one for one, turn in zip(examples, turned, strict=True)
        ]
    order = draws.permutation(len(examples)).tolist()
    return [replace(one, is_desirable=examples[index].is_desirable) for one, index in zip(examples, order, strict=True)]


def _compared(
    stage: StageContext, settings: StageSettings, backbone: Backbone, data: Dataset, needs: PreferenceNeeds, name: str
) -> list[Example]:
    """Pairs of judgements, or both of their responses by themselves."""
    from tuningfork.data.judgements import read_judgements
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.streams.judgements import judged_texts
    from tuningfork.streams.preferences import Example

    judgements = read_judgements(data)
    if name == "data":
        audit_stage(stage, data, [(f"judgement {j.id}", j.as_ranking()) for j in judgements], "ranking")
    examples: list[Example] = []
    for judgement in judgements:
        texts = judged_texts(backbone, judgement)
        for better, worse in judgement.pairs():
            if needs.unpaired:
                examples.append(Example((texts[better],), judgement.root, True))
                examples.append(Example((texts[worse],), judgement.root, False))
            else:
                probability = _probability(settings, judgement)
                examples.append(Example((texts[better], texts[worse]), judgement.root, probability=probability))
    return examples


def _probability(settings: StageSettings, judgement: Judgement) -> float:
    """How probable it is that the ranking is right: what the rater said of it, as far as the rater can be relied on."""
    told = judgement.probability if settings.soft_labels and judgement.probability is not None else 1.0
    right = settings.reliability.get(judgement.rater.kind, 1.0)
    return told * right + (1 - told) * (1 - right)


def _labelled(stage: StageContext, backbone: Backbone, data: Dataset, name: str) -> list[Example]:
    """Single responses that were found good or bad."""
    from tuningfork.data.adapters import prompt_text
    from tuningfork.data.stage_audit import audit_stage
    from tuningfork.streams.judgements import JudgedText
    from tuningfork.streams.preferences import Example

    placed = list(data.placed())
    if name == "data":
        audit_stage(stage, data, placed, "unpaired")
    rows = [row for _, row in placed]
    names = [prompt_text(row["prompt"]) for row in rows]
    prompts, responses = backbone.encode(names), backbone.encode([row["completion"] for row in rows])
    examples = []
    for row, name, prompt, response in zip(rows, names, prompts, responses, strict=True):
        text = JudgedText([*backbone.start_ids, *prompt], [*response, backbone.eos_id] if response else [])
        examples.append(Example((text,), str(row.get("extra", {}).get("root", name)), row["label"]))
    return examples


def _usable(stage: StageContext, backbone: Backbone, examples: Sequence[Example], name: str) -> list[Example]:
    """Without examples that teach nothing or do not fit the context; how many there were is said and kept."""
    from tuningfork.errors import DataError

    kept, dropped = [], {"empty": 0, "without_prompt": 0, "too_long": 0, "identical": 0}
    for example in examples:
        if not all(text.response for text in example.texts):
            dropped["empty"] += 1
        elif not all(text.prompt for text in example.texts):
            dropped["without_prompt"] += 1  # an empty prompt and no BOS: nothing predicts the first token
        elif max(len(text.prompt) + len(text.response) for text in example.texts) > backbone.max_length:
            dropped["too_long"] += 1
        elif len(example.texts) > 1 and example.texts[0].response == example.texts[1].response:
            dropped["identical"] += 1
        else:
            kept.append(example)
    which = "" if name == "data" else f"{name}_"
    stage.figures.update({f"{which}dropped_{reason}": count for reason, count in dropped.items()})
    if any(dropped.values()):
        counts = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count)
        stage.events.say(f"left out of {len(examples)} preferences{' held out' if which else ''}: {counts}")
    if not kept:
        raise DataError(f"{stage.inputs[name].reference}: no preference can be learnt from ({dropped})")
    return kept


def _split(
    stage: StageContext, settings: StageSettings, examples: Sequence[Example]
) -> tuple[list[Example], list[Example]]:
    """Train and held-out examples, by root: the same roots that the stage `reward` holds out."""
    from tuningfork.randomness import derive_seed, uniforms

    train: list[Example] = []
    heldout: list[Example] = []
    for example in examples:
        draw = float(uniforms([derive_seed(stage.seed, "holdout", example.root)], 0)[0])
        (heldout if draw < settings.holdout_share else train).append(example)
    return _enough(stage, train, heldout)


def _enough(stage: StageContext, train: list[Example], heldout: list[Example]) -> tuple[list[Example], list[Example]]:
    """Both; DataError where there is nothing to train on or, of each kind, to measure on."""
    from tuningfork.errors import DataError

    kinds = {example.is_desirable for example in heldout}
    is_enough = len(kinds) == 2 if heldout and len(heldout[0].texts) == 1 else bool(heldout)
    if not train or not is_enough:
        raise DataError(
            f"{len(train)} preferences to train on and {len(heldout)} held out"
            f"{'' if is_enough or not heldout else ', all of one kind'}: give preferences of more roots, or another "
            "holdout_share"
        )
    stage.figures.update(train_rows=len(train), heldout_rows=len(heldout))
    return train, heldout


def with_reference(
    stage: StageContext, backbone: Backbone, rows: Sequence[Example], needs: PreferenceNeeds
) -> Examples:
    """The examples with what the method needs of the reference."""
    from tuningfork.streams.preferences import Examples, kept_logprobs, pair_strangers

    if not needs.reference:
        return Examples(rows)
    key, runtime = stage.inputs["model"].key, stage.runtime
    texts = [text for row in rows for text in row.texts]
    reference = kept_logprobs(stage.work, key, backbone, texts, runtime).unflatten(0, (len(rows), -1))
    if not needs.unpaired:
        return Examples(rows, reference)
    good = sum(row.is_desirable for row in rows)
    stage.events.say(f"{good} desirable and {len(rows) - good} undesirable responses")
    strangers = pair_strangers(rows, stage.seed, backbone.max_length)
    return Examples(rows, reference, strangers, kept_logprobs(stage.work, key, backbone, strangers, runtime))
