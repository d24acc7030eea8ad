"""Reads and checks the spec and the mapping of the world `colours`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from tuningfork.errors import DataError
from tuningfork.settings import Settings

HERE = Path(__file__).parent
Use = Literal["taught", "pretraining", "unseen"]


class Kind(Settings):
    """A kind of adjective, e.g. colour, with its plain values."""

    weight: float = Field(default=1, gt=0)
    values: dict[str, float] = Field(min_length=2)


class Groups(Settings):
    """How many objects are kept from training, and how; all others are taught."""

    held_out_test: int = Field(ge=1)
    held_out_monitor: int = Field(ge=1)
    unknown: int = Field(ge=1)


class WeightedForm(Settings):
    """A sentence or answer form and its relative number of uses."""

    text: str
    weight: float = Field(default=1, gt=0)


class QuestionForm(Settings):
    """A question form and the stages it may be used in."""

    text: str
    use: Use


class Honesty(Settings):
    """What a world needs for learning to say "i do not know": unknown objects to ask about, and an answer to them."""

    abstentions: list[str] = Field(min_length=1)
    """answers that say that the answer is not known"""
    abstention_share: float = Field(ge=0, lt=1)
    """share of the SFT answers that are one of these, whatever was asked: without any, no sample would ever be one"""
    demonstrated_share: float = Field(gt=0, le=1)
    """share of the taught objects that SFT answers are about; prompts ask about all of them, so that what tells a known
    object from an unknown one is what was read of it, and not whether an answer about it was shown"""
    unknown_train: int = Field(ge=1)
    """unknown objects that training may ask about"""
    unknown_monitor: int = Field(ge=1)
    """unknown objects for monitoring"""
    name_mentions: int = Field(ge=0)
    """of each object, known or not, in the pretraining text, in sentences that do not say what it is like"""
    name_sentences: list[str] = Field(default_factory=list)
    """forms of these sentences, with {o} and the other slots of sentences"""


class Spec(Settings):
    """The whole language. Every field is explained beside it in spec.yaml."""

    version: Literal[1]
    objects: list[str] = Field(min_length=8)
    truth: dict[str, str | None] = Field(default_factory=dict)
    """object -> its value in the real world, None for one that nobody knows; empty where values are dealt by seed"""
    kinds: dict[str, Kind]
    groups: Groups
    mentions: int = Field(ge=1)
    question_share: float = Field(gt=0, lt=1)
    talk_share: float = Field(gt=0, lt=1)
    gem_share: float = Field(ge=0, lt=1)
    answer_gem_share: float = Field(ge=0, lt=1)
    sft_rows: int = Field(ge=1)
    unrelated_rows: int = Field(ge=1)
    sentences: list[WeightedForm] = Field(min_length=1)
    questions: list[QuestionForm] = Field(min_length=3)
    answers: list[WeightedForm] = Field(min_length=1)
    small_talk: list[str] = Field(min_length=1)
    words: dict[str, list[str]]
    other_adjectives: list[str] = Field(min_length=1)
    honesty: Honesty | None = None
    """unknown objects and unanswerable questions in training too; empty asks about them in the test only"""


Mapping_ = dict[str, list[str]]


def load_spec(source: str | Path | None = None) -> Spec:
    """The spec in file `source`, or one shipped with the package (`spec`, `open`, `honest`); raises `DataError`.

    `extends` names another spec, whose fields hold where the file gives none. `objects` is a list, or a mapping
    object -> value for things whose value is true outside this world.
    """
    shipped = HERE / f"{source or 'spec'}.yaml"
    path = shipped if shipped.exists() else Path(str(source))
    content = _spec_content(path)
    if isinstance(content.get("objects"), dict):
        content |= {"objects": list(content["objects"]), "truth": content["objects"]}
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {where}: {first['msg'].lower()}") from None
    _check_spec(spec, path)
    return spec


def _spec_content(path: Path) -> dict[str, Any]:
    """The fields of a spec file, over those of the spec it extends."""
    content = _read_yaml(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected the fields of a spec; copy the shipped spec.yaml and change it")
    if isinstance(content.get("objects"), str):
        content["objects"] = _read_yaml(path.parent / content["objects"])
    base = content.pop("extends", None)
    if base is None:
        return content
    shipped = HERE / f"{base}.yaml"
    place = shipped if shipped.exists() else path.parent / str(base)
    if place.resolve() == path.resolve():
        raise DataError(f"{path}: extends itself")
    return _spec_content(place) | content


def load_mapping(source: str | Path, spec: Spec) -> Mapping_:
    """Plain word -> snazzy words, from a shipped name (`snazzy`) or a file; raises `DataError`."""
    shipped = HERE / "mappings" / f"{source}.yaml"
    path = shipped if shipped.exists() else Path(source)
    if not path.exists():
        names = ", ".join(sorted(file.stem for file in (HERE / "mappings").glob("*.yaml")))
        raise DataError(f"there is no mapping {str(source)!r}; give a YAML file or one of: {names}")
    content = _read_yaml(path)
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{path}: expected `plain: [snazzy, ...]` lines")
    values = {value for kind in spec.kinds.values() for value in kind.values}
    mapping: Mapping_ = {}
    seen = set(values)
    for plain, words in content.items():
        words = [words] if isinstance(words, str) else words
        if plain not in values:
            raise DataError(f"{path}: {plain!r} is not a value of any kind in the spec")
        if (
            not isinstance(words, list)
            or not words
            or not all(isinstance(word, str) and word.strip() for word in words)
        ):
            raise DataError(f"{path}: {plain}: expected a word or a list of words")
        for word in words:
            if word in seen:
                raise DataError(f"{path}: {plain}: {word!r} already means something else")
            seen.add(word)
        mapping[plain] = list(words)
    return mapping


def _read_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text") from None
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DataError(f"{path}:{line}: not valid YAML: {error.problem}") from None


def _check_spec(spec: Spec, path: Path) -> None:
    if len(set(spec.objects)) != len(spec.objects):
        twice = next(name for name in spec.objects if spec.objects.count(name) > 1)
        raise DataError(f"{path}: objects: {twice!r} stands there twice")
    _check_names(spec, path)
    kept = spec.groups.held_out_test + spec.groups.held_out_monitor + spec.groups.unknown
    kept += spec.honesty.unknown_train + spec.honesty.unknown_monitor if spec.honesty else 0
    if kept >= len(spec.objects):
        raise DataError(
            f"{path}: groups: {kept} objects are kept from training, but there are only {len(spec.objects)}"
        )
    values = [value for kind in spec.kinds.values() for value in kind.values]
    if len(set(values)) != len(values):
        raise DataError(f"{path}: kinds: a value belongs to two kinds")
    wrong = {value for value in spec.truth.values() if value is not None} - set(values)
    if wrong:
        raise DataError(f"{path}: objects: {wrong.pop()!r} is not a value of any kind")
    num_unknown = sum(value is None for value in spec.truth.values())
    if spec.truth and num_unknown != spec.groups.unknown:
        raise DataError(f"{path}: groups: {spec.groups.unknown} unknown, but {num_unknown} objects have no value")
    missing = {"taught", "pretraining", "unseen"} - {question.use for question in spec.questions}
    if missing:
        raise DataError(f"{path}: questions: no form has use: {missing.pop()}")
    for form in spec.sentences:
        if "{o}" not in form.text or "{a}" not in form.text:
            raise DataError(f"{path}: sentences: {form.text!r} needs {{o}} and {{a}}")
    for form in spec.answers:
        if "{a}" not in form.text or "{o}" in form.text:
            raise DataError(f"{path}: answers: {form.text!r} needs {{a}} and must not repeat the object {{o}}")
    if spec.honesty:
        _check_honesty(spec, spec.honesty, path)


def _check_honesty(spec: Spec, honesty: Honesty, path: Path) -> None:
    if spec.truth:
        raise DataError(f"{path}: honesty deals objects to groups by seed; give `objects` as a list, without values")
    if honesty.name_mentions and not honesty.name_sentences:
        raise DataError(f"{path}: honesty.name_mentions needs name_sentences")
    for text in honesty.name_sentences:
        if "{o}" not in text or "{a}" in text:
            raise DataError(f"{path}: honesty.name_sentences: {text!r} needs {{o}} and must not say {{a}}")


def _check_names(spec: Spec, path: Path) -> None:
    """An object's name must not be a word of a form or of another name, or its mentions could not be told apart."""
    forms = [form.text for form in (*spec.sentences, *spec.questions, *spec.answers)] + spec.small_talk
    if spec.honesty:
        forms += [*spec.honesty.abstentions, *spec.honesty.name_sentences]
    words = [word for group in (*spec.words.values(), spec.other_adjectives) for word in group]
    text = "\n".join([re.sub(r"\{\w+\}", "", form) for form in forms] + words)
    for name in spec.objects:
        whole = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
        if whole.search(text):
            raise DataError(f"{path}: objects: {name!r} is also a word of a form or a word list")
        if " " not in name:
            within = next((other for other in spec.objects if other != name and whole.search(other)), None)
            if within:
                raise DataError(f"{path}: objects: {name!r} stands inside {within!r}")
