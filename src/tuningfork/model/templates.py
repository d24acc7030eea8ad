"""What a chat template writes and what somebody else wrote, told apart by sentinels.

A template is untrusted code from a model folder. It runs in transformers' sandboxed Jinja environment and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from tuningfork.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]
"""`{"role": ..., "content": ...}`."""


class TemplateRefusal(DataError):
    """A template cannot render a conversation, or loses part of it."""


@dataclass(frozen=True)
class Piece:
    """Consecutive text of a rendering: a message's whole content, or (`message` None) what the template writes."""

    text: str
    message: int | None = None


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, asks: bool = False) -> str:
    """The template's own rendering; with `asks` it ends with the generation prompt. TemplateRefusal when it raises."""
    from jinja2.exceptions import TemplateError

    template_text(tokenizer)  # its absence has a message of its own
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=asks
        )
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


def split_rendering(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[Piece]:
    """The rendering in pieces: every content that is not blank is rendered as a sentinel and found again.

    Blank contents stay in the template's text. TemplateRefusal when a content does not come out exactly once.
    """
    keys = _sentinels(tokenizer, messages)
    marked = [
        {**message, "content": keys[index]} if message["content"].strip() else message
        for index, message in enumerate(messages)
    ]
    text = render(tokenizer, marked)
    for index, message in enumerate(messages):
        count = text.count(keys[index])
        if message["content"].strip() and count != 1:
            raise TemplateRefusal(
                f"the chat template writes the text of message {index + 1} ({message['role']}) "
                f"{'not at all' if count == 0 else f'{count} times'}"
            )
    pieces = []
    for part in re.split(f"({'|'.join(keys)})", text):
        if part in keys:
            number = keys.index(part)
            pieces.append(Piece(messages[number]["content"], number))
        elif part:
            pieces.append(Piece(part))
    return pieces


def _sentinels(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[str]:
    """One word for each message that stands neither in a content nor in the template, none part of another."""
    taken = "\0".join([template_text(tokenizer), *(message["content"] for message in messages)])
    nonce = 0
    while f"CONTENT{nonce}X" in taken:
        nonce += 1
    return [f"CONTENT{nonce}X{index}X" for index in range(len(messages))]


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
