"""Where an answer begins and ends in the pieces of a rendering, when it is more than its text.

Reasoning and tool calls are written by the template around an answer's text (`<think>`, `<tool_call>{"name": ...`), but
at inference the model has to write all of that. So such an answer is everything between the generation prompt and the
token that ends the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuningfork.model.templates import Piece, TemplateRefusal

Segments = tuple[tuple[str, bool], ...]
"""Consecutive texts of an answer, and whether the template wrote each."""


@dataclass(frozen=True)
class WholeAnswer:
    """All that a model has to write in place of message number `message`."""

    message: int
    segments: Segments


def whole_answers(
    pieces: Sequence[Piece], is_whole: Callable[[int], bool], asked: Callable[[int], str], end: str
) -> list[Piece | WholeAnswer]:
    """The pieces, with those of each message for which `is_whole` joined to one answer.

    `asked(i)` is what the template writes behind the last text before message i when it asks for that answer, `end` the
    control token that ends a turn. TemplateRefusal where the answer does not begin there or does not end so.
    """
    found: list[Piece | WholeAnswer] = []
    rest = list(pieces)
    while rest:
        number = next((p.message for p in rest if p.message is not None), None)
        if number is None or not is_whole(number):
            count = next((n + 1 for n, p in enumerate(rest) if p.message is not None), len(rest))
            found += rest[:count]
            rest = rest[count:]
            continue
        before = rest.pop(0).text if rest[0].message is None else ""
        prompt = asked(number)
        if not before.startswith(prompt):
            raise TemplateRefusal(
                f"the chat template asks for message {number + 1} with {prompt[-40:]!r} but puts {before[-40:]!r} before it: "
                "a model would be asked for something it was not trained on; use another template"
            )
        last = max(n for n, p in enumerate(rest) if p.message == number)
        behind = rest[last + 1].text if last + 1 < len(rest) and rest[last + 1].message is None else ""
        if end not in behind:
            raise TemplateRefusal(
                f"the chat template writes no {end or 'end token'} behind the answer in message {number + 1}, so a model "
                "would never stop; use another template"
            )
        tail, _, after = behind.partition(end)
        inside = [(before[len(prompt) :], True), *((p.text, p.message is None) for p in rest[: last + 1]), (tail, True)]
        if prompt:
            found.append(Piece(prompt))
        found += [WholeAnswer(number, tuple(part for part in inside if part[0])), Piece(end + after)]
        rest = rest[last + 2 :]
    return found
