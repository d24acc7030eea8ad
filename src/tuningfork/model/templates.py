"""What a chat template writes and what somebody else wrote, told apart by sentinels.

A template is untrusted code from a model folder. It runs in transformers' sandboxed Jinja environment and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tuningfork.errors import DataError
from tuningfork.model.messages import Message, Written, for_template, marked

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

THINKS = "{#- answers begin where the generation prompt ends: what is thought before them is learnt too -#}"
"""In front of a template: the model was trained on reasoning, so no prompt ends with an empty block of thoughts."""


def learns_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's template says so; see `THINKS`."""
    return THINKS in template_text(tokenizer)


class TemplateRefusal(DataError):
    """A template cannot render a conversation, or loses part of it."""


@dataclass(frozen=True)
class Piece:
    """Consecutive text of a rendering: one text of a message, or (`message` None) what the template writes."""

    text: str
    message: int | None = None
    written: Written | None = None


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    asks: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
    arguments_as_text: bool = False,
) -> str:
    """The template's own rendering; with `asks` it ends with the generation prompt. TemplateRefusal when it raises."""
    from jinja2.exceptions import TemplateError

    template_text(tokenizer)  # its absence has a message of its own
    given = [for_template(message, arguments_as_text=arguments_as_text) for message in messages]
    more: dict[str, Any] = {"tools": [dict(tool) for tool in tools]} if tools else {}
    try:
        text = tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=asks, **more)
    except (
        TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise TemplateRefusal(f"the chat template refuses: {' '.join(str(error).split())[:160]}") from error
    return cast(str, text)


def split_rendering(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    asks: bool = False,
    tools: Sequence[Mapping[str, Any]] = (),
    arguments_as_text: bool = False,
) -> list[Piece]:
    """The rendering in pieces: every text of a message that is not blank is rendered as a sentinel and found again.

    Blank texts stay in the template's text. TemplateRefusal when one does not come out exactly once.
    """
    nonce = _nonce(tokenizer, messages)
    found: dict[str, Piece] = {}
    given = []
    for index, message in enumerate(messages):

        def mark(written: Written, index: int = index) -> str:
            key = f"CONTENT{nonce}X{len(found)}X"
            found[key] = Piece(written.text, index, written)
            return key

        given.append(marked(message, mark, arguments_as_text=arguments_as_text))
    text = render(tokenizer, given, asks=asks, tools=tools, arguments_as_text=arguments_as_text)
    for key, piece in found.items():
        count = text.count(key)
        if count != 1:
            raise TemplateRefusal(_lost(piece, messages, count))
    parts = re.split(f"({'|'.join(found)})", text) if found else [text]
    return [found.get(part) or Piece(part) for part in parts if part]


def _lost(piece: Piece, messages: Sequence[Message], count: int) -> str:
    assert piece.message is not None and piece.written is not None
    role, field = messages[piece.message]["role"], piece.written.field
    if field != "text" and not count:
        hint = (
            "; templates that know it may drop that of earlier answers, so give each answer a row of its own"
            if field == "reasoning" and piece.message < len(messages) - 1
            else ""
        )
        return (
            f"the chat template drops the {field} of message {piece.message + 1} ({role}); remove it, or use a template "
            f"that writes it{hint}"
        )
    how_often = "not at all" if count == 0 else f"{count} times"
    return f"the chat template writes the {field} of message {piece.message + 1} ({role}) {how_often}"


def _nonce(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> int:
    """A number whose sentinels stand neither in a message nor in the template; none is part of another."""
    taken = "\0".join([template_text(tokenizer), *map(str, messages)])
    nonce = 0
    while f"CONTENT{nonce}X" in taken:
        nonce += 1
    return nonce


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """The source of the template that `apply_chat_template` uses; TemplateRefusal where there is none."""
    try:
        return tokenizer.get_chat_template()
    except ValueError as error:
        raise TemplateRefusal("this tokenizer has no chat template; set `template: chatml`") from error


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Every token that was added to the vocabulary by name, special or not, and its id; runs of blanks are text."""
    return {token.content: index for index, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}


def end_of_turn(tokenizer: PreTrainedTokenizerBase, after: str) -> tuple[str, int] | None:
    """What ends a turn at the start of `after`: blanks and a control token, as text, and that token's id; or None."""
    known = control_tokens(tokenizer)
    longest_first = sorted(known, key=len, reverse=True)
    found = re.match(rf"(\s*)({'|'.join(map(re.escape, longest_first))})", after) if known else None
    return (found[0], known[found[2]]) if found else None


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Id of the token that the template writes behind an answer; None without template or without such a token."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    try:
        pieces = split_rendering(tokenizer, messages)
    except TemplateRefusal:
        return None
    position = next(index for index, piece in enumerate(pieces) if piece.message == 1)
    found = end_of_turn(tokenizer, pieces[position + 1].text) if position + 1 < len(pieces) else None
    return found[1] if found else None


def writes_the_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the rendering changes from day to day."""
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    source = template_text(tokenizer)
    if "strftime_now" not in source:
        return False
    texts = {
        cast(str, tokenizer.apply_chat_template(messages, chat_template=with_date(source, date), tokenize=False))
        for date in ("first", "second")
    }
    return len(texts) > 1


def with_date(source: str, date: str) -> str:
    """The template with `date` where it would write today's; a macro shadows the clock, so every tool renders the same."""
    return "{%- macro strftime_now(format) -%}" + date + "{%- endmacro -%}" + source
