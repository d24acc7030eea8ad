"""What each stage learns from: rows of any shape that fits, in the one form the stage reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tuningfork.data.dialogue import says_something, tagged_text
from tuningfork.data.part import answer_text
from tuningfork.data.raw import Row, RowFault
from tuningfork.data.reader import Dataset
from tuningfork.data.shapes import tree
from tuningfork.errors import DataError

Placed = tuple[str, Row]
"""A row and where it stands."""


def texts(data: Dataset) -> Iterator[Placed]:
    """`{"text"}` rows to pretrain on; a label is left aside."""
    return texts_of(data.placed())


def texts_of(rows: Iterable[Placed]) -> Iterator[Placed]:
    """The same of some rows."""
    return ((place, {"text": row["text"]}) for place, row in rows)


def demonstrations(data: Dataset) -> Iterator[Placed]:
    """`{"prompt", "completion"}` or `{"messages"}` rows to fine-tune on; see `uniform` where all must be of one kind.

    Of a preference the chosen answer is learnt, of unpaired answers the good ones, of references each one, of a choice the
    right option, of a tree its best conversation. A row without an answer is counted as faulty.
    """
    yield from demonstrations_of(data, data.placed())
    data.check_share()


def demonstrations_of(data: Dataset, rows: Iterable[Placed]) -> Iterator[Placed]:
    """The same of some rows of `data`; the share of faulty ones is not judged."""
    for place, row in rows:
        try:
            found = list(_DEMONSTRATIONS[data.shape](row))
        except RowFault as fault:
            data.refuse(place, str(fault))
            continue
        for demonstration in found:
            yield place, demonstration


def conversations(rows: Iterable[Placed]) -> list[Placed]:
    """Demonstrations all as conversations; pairs become conversations of one turn."""
    return [(place, row if "messages" in row else _as_turns(row)) for place, row in rows]


def uniform(rows: Iterable[Placed]) -> list[Placed]:
    """Demonstrations all of one kind: where any is a conversation, pairs become conversations of one turn."""
    found = list(rows)
    if not any("messages" in row for _, row in found):
        return found
    return conversations(found)


def alike(rows: Sequence[Placed], others: Sequence[Placed], source: str) -> list[Placed]:
    """`rows` in the form of `others`, both from `uniform`: pairs beside conversations become conversations of one turn.

    DataError for conversations beside pairs, which have no form that pairs are trained in.
    """
    is_chat, others_are_chat = ("messages" in found[0][1] for found in (rows, others))
    if is_chat and not others_are_chat:
        raise DataError(f"{source} holds conversations and the training data pairs of texts; give both the same form")
    return list(rows) if is_chat == others_are_chat else conversations(rows)


def _as_turns(row: Row) -> Row:
    turns = (("user", row["prompt"]), ("assistant", row["completion"]))
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def rankings(data: Dataset) -> Iterator[Placed]:
    """`{"prompt", "answers", "ranks"}` or `{"prompt", "answers", "comparisons"}` rows of preferences, rankings and trees."""
    for place, row in data.placed():
        if data.shape == "tree":
            yield from ((place, found) for found in tree.rankings(row))
        elif data.shape == "preference":
            answers = [answer_text(row["chosen"]), answer_text(row["rejected"])]
            rest = {name: row[name] for name in ("strength", "extra") if name in row}
            yield place, {"prompt": row["prompt"], "answers": answers, "ranks": [1, 2], **rest}
        else:
            yield place, row


def best_answer(row: Row) -> Row:
    """The prompt of a ranked row and its best answer, the first of several equally good ones, as a pair of texts."""
    return {"prompt": prompt_text(row["prompt"]), "completion": row["answers"][row["ranks"].index(min(row["ranks"]))]}


def prompt_text(prompt: str | list[Row]) -> str:
    """A prompt as plain text; messages as Human and Assistant paragraphs that wait for an answer."""
    return prompt if isinstance(prompt, str) else tagged_text(prompt, is_open=True)


def _pair(prompt: Any, completion: Any) -> Row:
    """Both as texts, or both as the messages of one conversation."""
    if not answer_text(completion).strip():
        raise RowFault("the answer is empty, so nothing to learn from; remove the row or give it an answer")
    if isinstance(prompt, str) and isinstance(completion, str):
        return {"prompt": prompt, "completion": completion}
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    after = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
    return {"messages": [*before, *after]}


def _conversation(row: Row) -> Iterator[Row]:
    if not any(message["role"] == "assistant" and says_something(message) for message in row["messages"]):
        raise RowFault("every assistant turn is empty, so nothing to learn from; remove the row or give it an answer")
    yield {name: row[name] for name in ("messages", "tools") if name in row}


def _unpaired(row: Row) -> Iterator[Row]:
    if row["label"]:
        yield _pair(row["prompt"], row["completion"])


def _choice(row: Row) -> Iterator[Row]:
    if row["answer"] is None:
        raise RowFault("no answer is given, so nothing to learn from; say which option is right")
    yield _pair(row["question"], row["options"][row["answer"]])


def _references(row: Row) -> Iterator[Row]:
    return (_pair(row["prompt"], reference) for reference in row["references"])


_DEMONSTRATIONS: Mapping[str, Callable[[Row], Iterator[Row]]] = {
    "prompt_completion": lambda row: iter([_pair(row["prompt"], row["completion"])]),
    "conversation": _conversation,
    "tree": tree.conversations,
    "preference": lambda row: iter([_pair(row["prompt"], row["chosen"])]),
    "unpaired": _unpaired,
    "choice": _choice,
    "references": _references,
}

TEXT_SHAPES = ("text", "labelled")
DEMONSTRATION_SHAPES = tuple(_DEMONSTRATIONS)
RANKING_SHAPES = ("preference", "ranking", "tree")
