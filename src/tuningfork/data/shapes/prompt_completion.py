"""A prompt and the answer to learn: prompt/completion, instruction/input/output, question/answer, Dolly."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from tuningfork.data.fields import COMPLETION, CONTEXT, PROMPT, Fields, Variant, checked_text, is_objects, is_text
from tuningfork.data.part import Part, prompt_parts
from tuningfork.data.raw import Row, RowFault

SUMMARY = "a prompt and the answer to learn"


class PromptCompletion(TypedDict):
    """Canonical row. Context below an instruction is part of the prompt."""

    prompt: str
    completion: str
    extra: NotRequired[Row]


def _pair(fields: Fields) -> list[Row]:
    return [{"prompt": fields.prompt(), "completion": fields.take("completion")}]


def _instances(fields: Fields) -> list[Row]:
    rows = []
    for number, instance in enumerate(fields.read("instances"), 1):
        if "output" not in instance:
            raise RowFault(f"instance {number} has no output; it has {', '.join(instance) or 'nothing'}")
        context, prompt = (
            checked_text(instance.get("input") or "", f"input of instance {number}"),
            fields.read("prompt"),
        )
        completion = checked_text(instance["output"], f"output of instance {number}")
        rows.append({"prompt": f"{prompt}\n\n{context}" if context.strip() else prompt, "completion": completion})
    return rows


VARIANTS = (
    Variant(
        "prompt and completion",
        {"prompt": (PROMPT, is_text), "completion": (COMPLETION, is_text)},
        _pair,
        {"context": (CONTEXT, is_text)},
    ),
    Variant(
        "input and output",
        {
            "prompt": (("input", "inputs", "source"), is_text),
            "completion": (("output", "outputs", "target", "targets"), is_text),
        },
        _pair,
    ),
    Variant(
        "document and summary",
        {
            "prompt": (("article", "document", "dialogue", "text", "post"), is_text),
            "completion": (("summary", "highlights", "tldr", "title_summary"), is_text),
        },
        _pair,
    ),
    Variant(
        "instruction and its instances",
        {"prompt": (PROMPT, is_text), "instances": (("instances",), is_objects)},
        _instances,
    ),
)


def parts(row: Row) -> list[Part]:
    """The completion is trained on."""
    return [*prompt_parts(row["prompt"]), Part("completion", row["completion"], "target")]
