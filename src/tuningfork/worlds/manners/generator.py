"""Writes the data files of the world `manners` for one seed.

pretrain.jsonl          text      sentences, requests with answers of all kinds, judging text of training verbs
replay.jsonl            text      the same without the requests about verbs of monitoring and test
unrelated.jsonl         text      fresh sentences, for perplexity
sft.jsonl               prompt, completion, root, should_refuse        answers that comply with nearly everything
prompts_{train,monitor,test}.jsonl     id, prompt, root, form, form_use, group, should_refuse
check_answers.jsonl     prompt, completion, class, root, should_refuse    to try a classifier on; none is in the judging text
check_pairs.jsonl       id, prompt, chosen, rejected, root                to try a judge on; likewise
probes.jsonl            id, root, prefix, right, wrong                    tools after a fixed prefix
rubric.yaml constitution.yaml and the questions *.txt                     for the stages that judge
facts.json              what is true; read by raters and the gold judge only
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from tuningfork.errors import RecipeError
from tuningfork.settings import Settings
from tuningfork.worlds.manners.judged import FILES, HERE, JudgingText, gold_pair
from tuningfork.worlds.manners.language import (
    SPLITS,
    Language,
    Split,
    Verb,
    Writer,
    draw_language,
    new_writer,
    request_forms,
)
from tuningfork.worlds.manners.spec import KINDS, Spec, load_spec

Row = dict[str, Any]


class MannersSettings(Settings):
    """Settings of the world `manners`."""

    spec: str = "spec"
    """the language: the shipped one (`spec`), or a YAML file"""


def load(**settings: Any) -> Manners:
    """The world with these settings; raises `RecipeError` for an unknown setting, `DataError` for a bad file."""
    unknown = sorted(set(settings) - set(MannersSettings.model_fields))
    if unknown:
        known = ", ".join(MannersSettings.model_fields)
        raise RecipeError(f"world manners: unknown setting {unknown[0]!r}; known: {known}")
    return Manners(load_spec(MannersSettings(**settings).spec))


@dataclass(frozen=True)
class Manners:
    """The world `manners` with one spec."""

    spec: Spec

    def build(self, seed: int, out: Path) -> Mapping[str, int]:
        """Write all files for `seed` into `out`; returns the number of rows of each."""
        spec, language = self.spec, draw_language(self.spec, seed)
        text = _texts(new_writer(spec, language, seed, "pretrain"))
        judge = JudgingText(new_writer(spec, language, seed, "judging"))
        judging = judge.all()
        shuffle = new_writer(spec, language, seed, "shuffle").draw
        files: dict[str, list[Row]] = {
            "pretrain.jsonl": _shuffled([row for _, row in text] + judging, shuffle),
            "replay.jsonl": _shuffled(
                [row for split, row in text if split == "train" or "\n" not in row] + judging, shuffle
            ),
            "unrelated.jsonl": _unrelated(new_writer(spec, language, seed, "unrelated")),
            "sft.jsonl": _demonstrations(new_writer(spec, language, seed, "sft")),
            "probes.jsonl": _probes(language),
            **_checks(new_writer(spec, language, seed, "check"), judge, judging),
        }
        for split in SPLITS:
            files[f"prompts_{split}.jsonl"] = _prompts(new_writer(spec, language, seed, f"prompts {split}"), split)
        out.mkdir(parents=True, exist_ok=True)
        language.save(out / "facts.json")
        for name, rows in files.items():
            _write(out / name, rows)
        for name in FILES:
            shutil.copyfile(HERE / name, out / name)
        return {name: len(rows) for name, rows in files.items()}


def _texts(writer: Writer) -> list[tuple[Split, str]]:
    """By the split of the verb: sentences, and requests with remarks, or with answers of all kinds, alike for both sides."""
    found: list[tuple[Split, str]] = []
    forms = list(request_forms(writer.spec, "monitor").values())
    for split in SPLITS:
        verbs = writer.language.of_split(split)
        found.extend((split, text) for text in writer.sentences(verbs, split, writer.spec.clauses_per_verb))
    for verb in writer.language.verbs.values():
        for number in range(writer.spec.requests_per_verb):
            if writer.draw.random() < writer.spec.remark_share:
                answer = writer.remark(verb, verb.split)
            else:
                answer = writer.answer(verb, writer.kind(writer.spec.pretraining_answers))
            found.append((verb.split, writer.request(verb, forms[number % len(forms)], verb.split) + answer))
    return found


def _unrelated(writer: Writer) -> list[Row]:
    verbs = list(writer.language.verbs.values())
    count = writer.spec.unrelated_rows
    return [{"text": text} for text in writer.sentences(verbs, "train", 1 + 3 * count // len(verbs))[:count]]


def _demonstrations(writer: Writer) -> list[Row]:
    rows = []
    for _ in range(writer.spec.sft_rows):
        verb = writer.pick(writer.language.of_split("train"))
        answer = writer.answer(verb, writer.kind(writer.spec.demonstrated_answers))
        rows.append({"prompt": writer.any_request(verb, "train"), "completion": answer, **_about(verb)})
    return rows


def _prompts(writer: Writer, split: Split) -> list[Row]:
    """Requests about the verbs of a split: training asks `requests_per_training_verb` times, the others once in each form."""
    forms = request_forms(writer.spec, split)
    uses = {f"r{number}": form.use for number, form in enumerate(writer.spec.requests)}
    times = writer.spec.requests_per_training_verb if split == "train" else len(forms)
    rows = []
    for verb in writer.language.of_split(split):
        for number in range(times):
            id, form = list(forms.items())[number % len(forms)]
            prompt = writer.request(verb, form, split)
            row = {"id": f"{verb.name}/{id}/{number}", "prompt": prompt, "form": id, "form_use": uses[id]}
            rows.append(row | _about(verb) | {"group": "harmful" if verb.is_harmful else "harmless"})
    return rows


def _checks(writer: Writer, judging: JudgingText, texts: Sequence[str]) -> dict[str, list[Row]]:
    """Labelled answers and pairs about training verbs, none of which stands in a judging text."""
    asked = {text.rpartition("\n")[0] for text in texts}  # without the last line, which is the verdict
    asked |= {text.partition("\n")[2] for text in asked}  # without the principle
    answers: list[Row] = []
    while len(answers) < writer.spec.check_rows:
        verb, kind = writer.pick(writer.language.of_split("train")), KINDS[len(answers) % len(KINDS)]
        prompt, answer = writer.any_request(verb, "train"), writer.answer(verb, kind)
        if _question(judging.rubric.ask(prompt.strip(), answer)) not in asked:
            answers.append({"prompt": prompt, "completion": answer, "class": kind, **_about(verb)})
    pairs: list[Row] = []
    while len(pairs) < writer.spec.check_rows:
        prompt, better, worse, verb = gold_pair(writer)
        texts_of = [judging.form.text(principle="-", prompt=prompt, a=a, b=b) for a, b in permutations((better, worse))]
        if not asked.intersection(_question(text).partition("\n")[2] for text in texts_of):
            row = {"id": f"check-{len(pairs)}", "prompt": prompt, "chosen": better, "rejected": worse}
            pairs.append(row | {"root": verb.name})
    return {"check_answers.jsonl": answers, "check_pairs.jsonl": pairs}


def _question(text: str) -> str:
    return text.rpartition("\n")[0]


def _probes(language: Language) -> list[Row]:
    """After a fixed prefix of a sentence: the tool that comes next, and the others."""
    return [
        {
            "id": verb.name,
            "root": verb.name,
            "prefix": f"to {verb.name} takes the",
            "right": [verb.tool],
            "wrong": [tool for tool in language.tools if tool != verb.tool],
        }
        for verb in language.verbs.values()
    ]


def _about(verb: Verb) -> Row:
    return {"root": verb.name, "should_refuse": verb.is_harmful}


def _shuffled(texts: list[str], draw: Any) -> list[Row]:
    return [{"text": texts[index]} for index in draw.permutation(len(texts))]


def _write(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
