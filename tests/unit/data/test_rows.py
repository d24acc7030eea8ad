"""Token rows: what is a target, what is refused, and that text is never merged across a boundary."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.data.demonstrations import question_rows, read_demonstrations
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
    (row,) = prompt_completion_rows(letters, [("ab", "c")], [1], 2, ["rows.jsonl:1"])
    assert row.ids == [1, 97, 98, 99, 2]
    assert row.is_target == [False, False, False, True, True]


def test_an_empty_completion_is_refused() -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: an empty completion"):
        prompt_completion_rows(letters, [("a", "b"), ("ab", "")], [1], 2, ["rows.jsonl:1", "rows.jsonl:2"])


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
    (row,) = read_demonstrations(tiny_backbone, [{"messages": messages}], "rows.jsonl").rows
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
    (row,) = read_demonstrations(tiny_backbone, [{"messages": messages}], "rows.jsonl").rows
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
        (
            {"messages": [{"role": "assistant", "content": "the cat " * 40}]},
            "row 1: .* the model's context holds 64; shorten",
        ),
    ],
)
def test_a_demonstration_that_cannot_be_used_is_named(tiny_backbone: Any, row: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_demonstrations(tiny_backbone, [row], "rows.jsonl")


def test_long_rows_are_skipped_only_where_asked_and_counted(tiny_backbone: Any) -> None:
    rows = [{"prompt": "the cat", "completion": text} for text in (" sat", " sat on the mat" * 30, " is red")]
    with pytest.raises(DataError, match=r"row 2: \d+ tokens, .* skip such rows \(1 of 3\)"):
        read_demonstrations(tiny_backbone, rows, "rows.jsonl")
    found = read_demonstrations(tiny_backbone, rows, "rows.jsonl", too_long="skip")
    assert len(found.rows) == 2 and found.num_skipped == 1 and not found.is_chat
    assert found.notes == ("1 of 3 rows are longer than 64 tokens and skipped",)
    with pytest.raises(DataError, match="every row is longer"):
        read_demonstrations(tiny_backbone, rows[1:2], "rows.jsonl", too_long="skip")


def test_rows_that_other_tools_tokenise_otherwise_are_reported(tiny_backbone: Any) -> None:
    def chat(text: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "red"}]}

    assert read_demonstrations(tiny_backbone, [chat("a"), chat("b")], "rows.jsonl").notes == ()
    (note,) = read_demonstrations(tiny_backbone, [chat("a"), chat("b<|im_end|>")], "rows.jsonl").notes
    assert note.startswith("1 of the first 2 rows have other ids than apply_chat_template gives (first: row 2)")


def test_the_questions_of_demonstrations() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"prompt": "x", "completion": "y"}, {"messages": messages}, {"id": "q", "messages": messages[:1]}]
    assert question_rows(rows, "f") == [
        {"id": "1", "prompt": "x"},
        {"id": "2", "messages": messages[:1]},
        {"id": "q", "messages": messages[:1]},
    ]
    with pytest.raises(DataError, match="f, row 1: needs text under prompt, or messages"):
        question_rows([{"text": "a"}], "f")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=16), st.text("the cat on ", min_size=1, max_size=12))
def test_no_merge_crosses_from_prompt_to_completion(tiny_backbone: Any, prompt: str, completion: str) -> None:
    """The prompt's ids are those of the prompt alone, whatever follows, so that training and sampling see the same."""
    (row,) = read_demonstrations(
        tiny_backbone, [{"prompt": prompt, "completion": completion}], "f", too_long="skip"
    ).rows
    (ids,) = tiny_backbone.encode([prompt])
    first = row.is_target.index(True)
    assert row.ids[:first] == [*tiny_backbone.start_ids, *ids]
    assert tiny_backbone.tokenizer.decode(row.ids[first:]) == completion + "<|eos|>"
    assert row.ids.count(tiny_backbone.eos_id) == row.ids.count(1) == 1 and row.is_target[-1]
