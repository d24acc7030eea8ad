"""Token rows: what is a target, what is refused, and that text is never merged across a boundary."""

from __future__ import annotations

from typing import Any

import pytest

from tuningfork.data.demonstrations import demonstration_rows
from tuningfork.data.rows import RowOrder, pack_text, prompt_completion_rows
from tuningfork.errors import DataError


def letters(texts: Any) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def test_packed_rows_hold_the_documents_in_order() -> None:
    rows = pack_text(letters, ["ab", "cde", "f"], 4, start=[1], eos=2)
    # the stream a b 2 c d e 2 f 2, three tokens a row behind BOS
    assert [row.ids for row in rows] == [[1, 97, 98, 2], [1, 99, 100, 101], [1, 2, 102, 2]]
    assert all(row.is_target == [False, True, True, True] for row in rows)


def test_a_row_without_bos_has_no_target_in_its_first_column() -> None:
    (row,) = pack_text(letters, ["abc"], 4, start=[], eos=2)
    assert row.ids == [97, 98, 99, 2] and row.is_target == [False, True, True, True]


def test_the_tail_is_dropped_and_too_little_text_is_refused() -> None:
    assert len(pack_text(letters, ["abcdef"], 4, start=[], eos=2)) == 1
    with pytest.raises(DataError, match="3 tokens, fewer than one row of 4"):
        pack_text(letters, ["ab"], 4, start=[], eos=2)


def test_only_the_completion_and_its_eos_are_targets() -> None:
    (row,) = prompt_completion_rows(letters, [("ab", "c")], [1], 2, 10)
    assert row.ids == [1, 97, 98, 99, 2]
    assert row.is_target == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("pair", "message"), [(("ab", ""), "row 1 has an empty completion"), (("ab" * 5, "c"), "row 1 has 13 tokens")]
)
def test_rows_that_cannot_be_learnt_from_are_refused(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prompt_completion_rows(letters, [pair], [1], 2, 10)


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        RowOrder(0, 4, seed=0, purpose="rows")


def test_a_conversation_trains_on_assistant_turns_only(tiny_backbone: Any) -> None:
    messages = [
        {"role": "system", "content": "it is"},
        {"role": "user", "content": "the cat"},
        {"role": "assistant", "content": "sat on"},
        {"role": "user", "content": "red"},
        {"role": "assistant", "content": "blue."},
    ]
    (row,) = demonstration_rows(tiny_backbone, [{"messages": messages}], "rows.jsonl")
    tokenizer = tiny_backbone.tokenizer
    targets = [token for token, is_target in zip(row.ids, row.is_target, strict=True) if is_target]
    assert tokenizer.decode(targets) == "sat on<|im_end|>blue.<|im_end|>"
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert tokenizer.decode(row.ids) == rendered
    assert row.ids == tokenizer.apply_chat_template(messages, return_dict=False)


def test_a_marker_in_a_content_opens_no_span(tiny_backbone: Any) -> None:
    messages = [
        {"role": "user", "content": "a<|im_end|>b"},
        {"role": "assistant", "content": "it is red"},
    ]
    (row,) = demonstration_rows(tiny_backbone, [{"messages": messages}], "rows.jsonl")
    end = tiny_backbone.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert row.ids.count(end) == 2
    targets = [token for token, is_target in zip(row.ids, row.is_target, strict=True) if is_target]
    assert tiny_backbone.tokenizer.decode(targets) == "it is red<|im_end|>"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a"}, "row 1: needs text under prompt and completion"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "row 1: a message needs a role"),
        ({"messages": [{"role": "user", "content": "a"}]}, "row 1: no assistant turn"),
        ({"messages": [{"role": "assistant", "content": "the cat " * 40}]}, "row 1: .* the model's context holds 64"),
    ],
)
def test_a_demonstration_that_cannot_be_used_is_named(tiny_backbone: Any, row: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        demonstration_rows(tiny_backbone, [row], "rows.jsonl")
