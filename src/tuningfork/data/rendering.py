"""Conversations as token ids: one rendering for training, sampling, chat and evaluation.

What the template writes is tokenised with control tokens on, what somebody wrote with control tokens off, and the ids
are joined: a control token's name in a message stays plain text. The pieces must add up to the template's own
rendering; where they do not, one of two declared fallbacks makes them do so, or the conversation is refused:

    trim    the template strips blanks around a role's text: the stripped text is what the model is trained on
    merge   the template takes no system message: its text goes in front of the first user message, a blank line between

Reasoning, tool calls, tools and their replies are rendered by templates that know them. What a template leaves out is
refused by its name. An answer with reasoning or tool calls is all that the model has to write: see `data/answers.py`.

A prompt is what stands before an answer in training, so that both are the same by construction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tuningfork.data.answers import WholeAnswer, whole_answers
from tuningfork.data.forms import Form, forms_of, in_json, is_trimmed
from tuningfork.data.pieces import PieceEncoder
from tuningfork.data.rows import TokenRow
from tuningfork.errors import DataError
from tuningfork.model.messages import (
    Message,
    checked_messages,
    checked_tools,
    has_more,
    plain_texts,
    tool_texts,
)
from tuningfork.model.templates import (
    Piece,
    TemplateRefusal,
    end_of_turn,
    learns_reasoning,
    render,
    split_rendering,
    template_text,
    writes_the_date,
)
from tuningfork.model.tokenizer import start_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from tuningfork.model.backbone import Backbone

LossOn = Literal["all", "last"]


@dataclass(frozen=True)
class _Part:
    """Ids of one piece and which of them are an answer's own: (start, stop) within `ids`, and the answer's number."""

    ids: list[int]
    answer: int | None = None
    num_end: int = 0
    """leading ids that end the answer before this piece"""


class Renderer:
    """Renders conversations with the template of one tokenizer. `notes` says which fallbacks were used, and how often."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """TemplateRefusal for a template that no model could be trained with."""
        self.tokenizer = tokenizer
        self._start = start_ids(tokenizer)
        self._counts: dict[str, int] = {}
        self._form = Form()
        self._tools: list[dict[str, Any]] = []
        self._thinks = False
        source = template_text(tokenizer)
        if writes_the_date(tokenizer):
            raise TemplateRefusal("the chat template writes today's date; fix it with `date: 26 Jul 2024`")
        self._gap, self._end, literals = self._find_gap()
        self._encoder = PieceEncoder(tokenizer, source + literals)
        self._thinks = learns_reasoning(tokenizer)

    @property
    def notes(self) -> list[str]:
        """What was done to conversations so far, in words."""
        return [f"{text} ({count:,} conversations)" if count else text for text, count in self._counts.items()]

    def conversation(
        self, messages: Sequence[Message], where: str = "", *, loss_on: LossOn = "all", tools: Any = None
    ) -> TokenRow:
        """One training row. Targets are the answers (or the last one) and what ends each.

        DataError, beginning with `where`, for what the template refuses, alters or leaves out and for an answer without
        text or end.
        """
        messages = self._accept(messages, tools, where)
        answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if not answers:
            raise DataError(f"{where}: no assistant turn, so nothing to learn from")
        wanted = answers if loss_on == "all" else answers[-1:]
        for index in wanted:
            if not messages[index]["content"].strip() and "tool_calls" not in messages[index]:
                raise DataError(f"{where}: message {index + 1} is an answer without text; remove it")
        num_merged, parts = self._parts(messages, where)
        targets = {index - num_merged for index in wanted}
        ids, is_target = self._begin(parts, where)
        previous: int | None = None
        for part in parts:
            if previous in targets and not part.num_end:
                raise DataError(
                    f"{where}: the chat template writes no end token behind an answer, so a model would never stop; "
                    "use another template, e.g. `template: chatml`"
                )
            ids += part.ids
            own = len(part.ids) if part.answer in targets else part.num_end if previous in targets else 0
            is_target += [True] * own + [False] * (len(part.ids) - own)
            previous = part.answer
        if previous in targets:
            raise DataError(f"{where}: the chat template ends with the answer and no end token; use another template")
        return TokenRow(ids, is_target)

    def prompt(self, messages: Sequence[Message], where: str = "prompt", *, tools: Any = None) -> list[int]:
        """Ids of a conversation up to where the next answer begins."""
        messages = self._accept(messages, tools, where)
        if not messages or messages[-1]["role"] == "assistant":
            raise DataError(f"{where}: ends with an answer; a prompt ends with a user's message or a tool's")
        num_merged, parts = self._parts([*messages, {"role": "assistant", "content": "answer"}], where)
        last = next(index for index, part in enumerate(parts) if part.answer == len(messages) - num_merged)
        return self._begin(parts, where)[0] + [token for part in parts[:last] for token in part.ids]

    def differs(self, messages: Sequence[Message], tools: Any = None) -> bool:
        """Whether the tokenizer's `apply_chat_template` gives other ids, or none at all, for a conversation."""
        try:
            accepted = self._accept(messages, tools, "")
            text = render(self.tokenizer, accepted, tools=self._tools, arguments_as_text=self._form.arguments_as_text)
        except TemplateRefusal:
            return True
        return self.conversation(messages, tools=tools).ids != self._encoder.literal(text, is_first=True)

    def _accept(self, messages: Sequence[Message], tools: Any, where: str) -> list[Message]:
        """Messages in the one form; from here on `self._tools` are the tools of the conversation."""
        found = checked_messages(messages, where)
        self._tools = checked_tools(tools, where)
        for index, message in enumerate(found, 1):
            if "reasoning" in message and not self._thinks:
                raise DataError(
                    f"{where}: message {index} has reasoning, which the rows looked at before had not; a model is asked in "
                    "one way, so rows with reasoning have to be among the first"
                )
            for text in plain_texts(message):
                if name := self._encoder.holds_control(text):
                    raise DataError(f"{where}: message {index} has {name} in the name of something; rename it")
        if self._tools:
            self._check_tools(found, where)
        return found

    def _check_tools(self, messages: Sequence[Message], where: str) -> None:
        """DataError where the template leaves the tools out, or where they hold a control token."""
        if name := self._encoder.holds_control(json.dumps(self._tools, ensure_ascii=False)):
            raise DataError(f"{where}: the tools hold the control token {name}; remove it")
        try:
            text = render(self.tokenizer, messages[:1], tools=self._tools)
        except TemplateRefusal as refusal:
            raise DataError(f"{where}: {refusal}") from refusal
        for part in tool_texts(self._tools):
            if part not in text and in_json(part) not in text:
                raise DataError(
                    f"{where}: the chat template drops {part!r} of the tools; remove them, or use a template that writes tools"
                )

    # From messages to parts

    def _parts(self, messages: Sequence[Message], where: str) -> tuple[int, list[_Part]]:
        """How many messages were merged into others, and the parts of the rendering."""
        joined, rest = {}, list(messages)
        try:
            pieces, merged = self._pieces(messages), 0
        except TemplateRefusal as refusal:
            if len(messages) < 2 or [message["role"] for message in messages[:2]] != ["system", "user"]:
                raise DataError(f"{where}: {refusal}") from refusal
            system, user, *rest = messages
            joined = {"role": "user", "content": f"{system['content']}\n\n{user['content']}".lstrip("\n")}
            try:
                pieces, merged = self._pieces([joined, *rest]), 1
            except TemplateRefusal:
                raise DataError(f"{where}: {refusal}") from refusal
            self._count("merge: the template takes no system message, its text went before the first user message")
        given = messages if not merged else [joined, *rest]
        try:
            whole = whole_answers(
                pieces, lambda index: self._is_whole(given, index), lambda index: self._asked(given, index), self._end
            )
        except TemplateRefusal as refusal:
            raise DataError(f"{where}: {refusal}") from refusal
        return merged, [self._part(whole, index, given) for index in range(len(whole))]

    def _pieces(self, messages: Sequence[Message]) -> list[Piece]:
        """Pieces that add up to the template's own rendering; an answer's gap belongs to the answer."""
        refusals = []
        for as_text in dict.fromkeys((self._form.arguments_as_text, False, any("tool_calls" in m for m in messages))):
            given = {"tools": self._tools, "arguments_as_text": as_text}
            try:
                pieces, whole = (
                    split_rendering(self.tokenizer, messages, **given),
                    render(self.tokenizer, messages, **given),
                )
            except TemplateRefusal as refusal:
                refusals.append(refusal)
                continue
            for form in [self._form, *forms_of(pieces, messages, as_text)]:
                found = [form.text_of(piece, messages) for piece in pieces]
                if form.arguments_as_text == as_text and "".join(piece.text for piece in found) == whole:
                    if any(is_trimmed(a, b) for a, b in zip(found, pieces, strict=True)):
                        self._count(f"trim: the template strips blanks around the text of {' and '.join(form.trims)}")
                    self._form = form
                    return self._with_gaps(found, messages)
            lost = [i for i, message in enumerate(messages) if message["content"].strip() not in whole]
            which = f"of message {lost[0] + 1} ({messages[lost[0]]['role']})" if lost else "of this conversation"
            refusals.append(
                TemplateRefusal(f"the chat template alters the text {which}; change the text or use another template")
            )
        raise refusals[0]

    def _with_gaps(self, pieces: Sequence[Piece], messages: Sequence[Message]) -> list[Piece]:
        """Move the blank that the template puts between its generation prompt and an answer into the answer."""
        moved = list(pieces)
        for index, piece in enumerate(pieces):
            is_answer = piece.message is not None and messages[piece.message]["role"] == "assistant"
            if is_answer and index and self._gap and not self._is_whole(messages, piece.message or 0):
                before = moved[index - 1]
                if before.message is None and before.text.endswith(self._gap):
                    moved[index - 1] = Piece(before.text.removesuffix(self._gap))
                    moved[index] = Piece(self._gap + piece.text, piece.message, piece.written)
        return moved

    def _is_whole(self, messages: Sequence[Message], index: int) -> bool:
        """Whether message number `index` is an answer of which everything behind the generation prompt is learnt."""
        return messages[index]["role"] == "assistant" and (self._thinks or has_more(messages[index]))

    def _asked(self, messages: Sequence[Message], index: int) -> str:
        """What stands between the last text before message number `index` and the answer that is asked for there."""
        pieces = split_rendering(
            self.tokenizer,
            messages[:index],
            asks=True,
            tools=self._tools,
            arguments_as_text=self._form.arguments_as_text,
        )
        return pieces[-1].text if pieces and pieces[-1].message is None else ""

    def _part(self, pieces: Sequence[Piece | WholeAnswer], index: int, messages: Sequence[Message]) -> _Part:
        piece = pieces[index]
        if isinstance(piece, WholeAnswer):
            return _Part(self._encoder.answer(piece.segments), piece.message)
        if piece.message is not None:
            is_answer = messages[piece.message]["role"] == "assistant"
            return _Part(self._encoder.content(piece.text, is_first=index == 0), piece.message if is_answer else None)
        ids = self._encoder.literal(piece.text, is_first=index == 0)
        before = pieces[index - 1].message if index else None
        if before is None or messages[before]["role"] != "assistant":
            return _Part(ids)
        end = end_of_turn(self.tokenizer, piece.text)
        return _Part(ids, num_end=ids.index(end[1]) + 1 if end else 0)

    # Ids

    def _begin(self, parts: Sequence[_Part], where: str) -> tuple[list[int], list[bool]]:
        """BOS where the tokenizer puts one and the template did not."""
        first = [token for part in parts[:2] for token in part.ids][:2]
        if self._start and first == self._start * 2:
            raise DataError(f"{where}: the chat template writes two BOS; one is allowed")
        start = [] if first[:1] == self._start else self._start
        return list(start), [False] * len(start)

    # The template

    def _find_gap(self) -> tuple[str, str, str]:
        """What the template puts between its generation prompt and an answer, where that is only blank; the control token
        that ends an answer; and its literals.

        What else stands there (an empty block of thoughts) is context, in training and in prompts, and is noted.
        """
        asked = [{"role": "user", "content": "question"}]
        self._gap = ""
        pieces = self._pieces([*asked, {"role": "assistant", "content": "answer"}])
        literals = "\0".join(piece.text for piece in pieces if piece.message is None)
        number = next(index for index, piece in enumerate(pieces) if piece.message == 1)
        end = end_of_turn(self.tokenizer, pieces[number + 1].text) if number + 1 < len(pieces) else None
        before = "".join(piece.text for piece in pieces[:number])
        prompt = render(self.tokenizer, asked, asks=True)
        if not before.startswith(prompt):
            raise TemplateRefusal(
                f"the chat template asks for an answer with {prompt[-40:]!r} but puts {before[-40:]!r} before the answers "
                "it is given: a model would be asked for something it was not trained on; use another template"
            )
        gap = before[len(prompt) :]
        if gap.strip() and not learns_reasoning(self.tokenizer):
            self._count(f"the template puts {gap!r} before an answer, which its generation prompt leaves out", 0)
        return "" if gap.strip() else gap, end[0].strip() if end else "", literals

    def _count(self, note: str, count: int = 1) -> None:
        self._counts[note] = self._counts.get(note, 0) + count


def prompt_ids(backbone: Backbone, rows: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Ids of prompts: `messages` through the chat template, else the text `prompt` behind BOS.

    A row may have both; `prompt` is then what people and rewards read.
    """
    is_chat = ["messages" in row for row in rows]
    renderer = Renderer(backbone.tokenizer) if any(is_chat) else None
    texts = iter(backbone.encode([row["prompt"] for row, chat in zip(rows, is_chat, strict=True) if not chat]))
    return [
        renderer.prompt(row["messages"], f"prompt {row.get('id', number)!r}", tools=row.get("tools"))
        if renderer and "messages" in row
        else [*backbone.start_ids, *next(texts)]
        for number, row in enumerate(rows, 1)
    ]
