"""Writes the data files of the world `colours` for one seed.

pretrain.jsonl          text                          everything the model may know: sentences, questions, small talk
replay.jsonl            text                          sentences and small talk without any held-out object
sentences.jsonl         text                          pretraining text without questions, held-out objects too
unrelated.jsonl         text                          fresh sentences and small talk, for perplexity
sft.jsonl               prompt, completion, root, form
prompts_{train,monitor,test}.jsonl                    id, prompt, root, form, form_use, group
contrasts.jsonl         id, root, group, name, prompt, better, worse      for the gate of a reward model
probes.jsonl            id, root, group, prefix, right, wrong             next words after a fixed prefix
questions_test.jsonl    the test prompts with their answers, where the spec has `honesty`; read by measurements only
facts.json              what is true; read by raters and the gold judge only
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.errors import RecipeError
from tuningfork.randomness import numpy_generator
from tuningfork.settings import Settings
from tuningfork.worlds.colours.facts import Facts, Split, Thing, draw_facts
from tuningfork.worlds.colours.honesty import abstains, demonstrated, name_sentences, unanswerable_prompts, with_answers
from tuningfork.worlds.colours.sentences import Writer, question, question_forms, write_sentences
from tuningfork.worlds.colours.spec import Mapping_, Spec, Use, load_mapping, load_spec

Row = dict[str, Any]


class ColoursSettings(Settings):
    """Settings of the world `colours`."""

    mapping: str = "snazzy"
    """plain word -> snazzy words: a shipped mapping (`snazzy`, `snazzy-wide`) or a YAML file"""
    spec: str | None = None
    """a YAML file that replaces the shipped spec"""


def load(**settings: Any) -> Colours:
    """The world with these settings; raises `RecipeError` for an unknown setting, `DataError` for a bad file."""
    unknown = sorted(set(settings) - set(ColoursSettings.model_fields))
    if unknown:
        raise RecipeError(
            f"world colours: unknown setting {unknown[0]!r}; known: {', '.join(ColoursSettings.model_fields)}"
        )
    chosen = ColoursSettings(**settings)
    spec = load_spec(chosen.spec)
    return Colours(spec, load_mapping(chosen.mapping, spec))


@dataclass(frozen=True)
class Colours:
    """The world `colours` with one spec and one mapping."""

    spec: Spec
    mapping: Mapping_

    def build(self, seed: int, out: Path) -> Mapping[str, int]:
        """Write all files for `seed` into `out`; returns the number of rows of each."""
        return build(self.spec, self.mapping, seed, out)


def build(spec: Spec, mapping: Mapping_, seed: int, out: Path) -> dict[str, int]:
    """Write all files of the world for `seed` into `out`; returns the number of rows of each."""
    facts = draw_facts(spec, mapping, seed)
    files: dict[str, list[Row]] = {
        **_pretraining_files(spec, facts, seed),
        "unrelated.jsonl": _unrelated(spec, facts, seed),
        "sft.jsonl": _sft_rows(spec, facts, seed),
        "contrasts.jsonl": _contrasts(spec, facts, seed),
        "probes.jsonl": _probes(facts),
    }
    for split in ("train", "monitor", "test"):
        files[f"prompts_{split}.jsonl"] = _prompts(spec, facts, split)
    if spec.honesty:
        files["questions_test.jsonl"] = [with_answers(facts, row) for row in files["prompts_test.jsonl"]]
    out.mkdir(parents=True, exist_ok=True)
    facts.save(out / "facts.json")
    for name, rows in files.items():
        write_rows(out / name, rows)
    return {name: len(rows) for name, rows in files.items()}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _writer(spec: Spec, facts: Facts, seed: int, purpose: str) -> Writer:
    """A writer whose gem words add up to the spec's share of all mentions in the pretraining text."""
    known = _known(facts)
    mapped = sum(facts.is_mapped(thing.name) for thing in known) / len(known)
    in_answers = spec.question_share * spec.answer_gem_share * mapped
    rate = (spec.gem_share - in_answers) / ((1 - spec.question_share) * mapped) if mapped else 0.0
    draw = numpy_generator(seed, "colours", purpose)
    return Writer(spec, facts, draw, min(1.0, max(0.0, rate)), spec.answer_gem_share)


def _pretraining_files(spec: Spec, facts: Facts, seed: int) -> dict[str, list[Row]]:
    writer = _writer(spec, facts, seed, "pretrain")
    known = _known(facts)
    forms = list(question_forms(spec, "taught", "pretraining").values())
    num_questions = round(spec.mentions * spec.question_share)
    questions = []
    for index, thing in enumerate(known):
        for number in range(num_questions):
            answer = writer.answer(writer.any_answer_form(), thing)
            questions.append(question(forms[(index + number) % len(forms)], thing) + answer)
    mentions = known * (spec.mentions - num_questions)
    sentences = write_sentences(writer, [mentions[index] for index in writer.draw.permutation(len(mentions))])
    num_talk = round(spec.talk_share / (1 - spec.talk_share) * (len(sentences) + len(questions)))
    talk = [writer.small_talk() for _ in range(num_talk)]
    if spec.honesty:
        sentences += name_sentences(writer, spec.honesty)
    everything = [text for text, _ in sentences] + questions + talk
    taught = [text for text, things in sentences if all(thing.split == "train" for thing in things)]
    replay = taught + talk[: round(spec.talk_share / (1 - spec.talk_share) * len(taught))]
    return {
        "pretrain.jsonl": _shuffled(everything, writer),
        "replay.jsonl": _shuffled(replay, writer),
        "sentences.jsonl": _shuffled([text for text, _ in sentences] + talk, writer),
    }


def _unrelated(spec: Spec, facts: Facts, seed: int) -> list[Row]:
    """Half sentences about known objects, half small talk; the same language as pretraining, without questions."""
    writer = _writer(spec, facts, seed, "unrelated")
    known = _known(facts)
    mentions = [known[int(writer.draw.integers(len(known)))] for _ in range(spec.unrelated_rows)]
    sentences = [text for text, _ in write_sentences(writer, mentions)][: spec.unrelated_rows // 2]
    return _shuffled(sentences + [writer.small_talk() for _ in sentences], writer)


def _sft_rows(spec: Spec, facts: Facts, seed: int) -> list[Row]:
    writer = _writer(spec, facts, seed, "sft")
    pairs = [(thing, item) for thing in demonstrated(facts, spec) for item in question_forms(spec, "taught").items()]
    rows: list[Row] = []
    while len(rows) < spec.sft_rows:
        for index in writer.draw.permutation(len(pairs))[: spec.sft_rows - len(rows)]:
            thing, (form_id, form) = pairs[index]
            answer = abstains(writer, spec) or writer.answer(writer.any_answer_form(), thing)
            rows.append({"prompt": question(form, thing), "completion": answer, "root": thing.name, "form": form_id})
    return rows


def _prompts(spec: Spec, facts: Facts, split: Split) -> list[Row]:
    """Training asks in taught forms, monitoring also in those of pretraining, the test in all of them."""
    uses: dict[Split, tuple[Use, ...]] = {
        "train": ("taught",),
        "monitor": ("taught", "pretraining"),
        "test": ("taught", "pretraining", "unseen"),
    }
    forms = question_forms(spec, *uses[split])
    rows: list[Row] = [
        {
            "id": f"{thing.name.replace(' ', '-')}/{form_id}",
            "prompt": question(form, thing),
            "root": thing.name,
            "form": form_id,
            "form_use": form.use,
            "group": thing.group,
        }
        for thing in facts.of_split(split)
        for form_id, form in forms.items()
    ]
    if spec.honesty:
        rows += unanswerable_prompts(facts, split, forms)
        rows = rows if split == "test" else [with_answers(facts, row) for row in rows]
    return rows


def _contrasts(spec: Spec, facts: Facts, seed: int) -> list[Row]:
    """Pairs of answers of known order, alike in form; about objects for monitoring and, beside them, taught ones."""
    writer = _writer(spec, facts, seed, "contrasts")
    rows: list[Row] = []
    for thing in [*_known(facts, "monitor"), *_known(facts, "train")]:
        for form_id, form in question_forms(spec, "taught", "pretraining").items():
            if thing.group == "taught" and form.use != "taught":
                continue
            answer_form = writer.any_answer_form()
            for name, better, worse in _contrasting_words(writer, thing):
                rows.append(
                    {
                        "id": f"{thing.name.replace(' ', '-')}/{form_id}/{name}",
                        "root": thing.name,
                        "group": thing.group,
                        "name": name,
                        "prompt": question(form, thing),
                        "better": writer.answer(answer_form, thing, better),
                        "worse": writer.answer(answer_form, thing, worse),
                    }
                )
    return rows


def _contrasting_words(writer: Writer, thing: Thing) -> list[tuple[str, str, str]]:
    facts = writer.facts
    right = thing.value
    assert right is not None
    others = [value for value in facts.kinds[thing.kind] if value != right]
    wrong_plain = writer.pick(others)
    words = [("right_plain_over_wrong_plain", right, wrong_plain)]
    mapped = [value for value in others if value in facts.mapping]
    if mapped:
        words.append(("right_plain_over_wrong_gem", right, writer.pick(facts.mapping[writer.pick(mapped)])))
    if right in facts.mapping:
        words.append(("right_gem_over_right_plain", writer.pick(facts.mapping[right]), right))
    return words


def _probes(facts: Facts) -> list[Row]:
    """After a fixed prefix of a sentence: the words that may come next, the right ones and the wrong plain ones."""
    rows: list[Row] = []
    for thing in _known(facts):
        right = facts.words_for(thing)
        wrong = [value for value in facts.kinds[thing.kind] if value != thing.value]
        rows.append(
            {
                "id": thing.name.replace(" ", "-"),
                "root": thing.name,
                "group": thing.group,
                "split": thing.split,
                "prefix": f"the {thing.name} is",
                "right": right,
                "wrong": wrong,
            }
        )
    return rows


def _known(facts: Facts, *splits: Split) -> list[Thing]:
    """The known things of these splits, of all where none is given."""
    return [thing for thing in facts.known() if not splits or thing.split in splits]


def _shuffled(texts: list[str], writer: Writer) -> list[Row]:
    return [{"text": texts[index]} for index in writer.draw.permutation(len(texts))]
