"""Ids of the pieces of a rendering: what a template writes, and what somebody wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from tuningfork.model.templates import control_tokens
from tuningfork.model.tokenizer import encode_contents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PieceEncoder:
    """Tokenises pieces so that their ids can be joined. `template` is all text that the template may write."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: str) -> None:
        self.tokenizer = tokenizer
        controls = {name: index for name, index in control_tokens(tokenizer).items() if name in template}
        self._controls = set(controls.values())
        longest_first = sorted(controls, key=len, reverse=True)
        self._names = re.compile(f"({'|'.join(map(re.escape, longest_first))})" if controls else "(?!)")
        self._prefix = _line_feed_before(tokenizer)

    def literal(self, text: str, *, is_first: bool) -> list[int]:
        """Ids of what the template writes: names of control tokens are control tokens."""
        encode = self.tokenizer
        return self._inside(
            text, is_first, lambda t: cast("list[int]", encode(t, add_special_tokens=False)["input_ids"])
        )

    def content(self, text: str, *, is_first: bool) -> list[int]:
        """Ids of what somebody wrote: no control token, whatever it says."""
        ids = self._inside(text, is_first, lambda t: encode_contents(self.tokenizer, [t])[0])
        if not self._controls.intersection(ids):
            return ids
        # An added token that is not flagged special is found even so: its name is cut in two.
        parts = self._names.split(text)
        halves = [half for part in parts for half in ((part[:1], part[1:]) if self._names.fullmatch(part) else (part,))]
        ids = [token for half in halves if half for token in self.content(half, is_first=False)]
        assert not self._controls.intersection(ids), "half a token's name is no control token"
        return ids

    def answer(self, segments: Sequence[tuple[str, bool]]) -> list[int]:
        """Ids of an answer made of several texts, `(text, is the template's)`: all that the model has to write.

        The template's control tokens are control tokens; what stands between two of them is tokenised as one text.
        """
        ids: list[int] = []
        plain = ""
        for text, is_template in segments:
            for part in self._names.split(text) if is_template else [text]:
                if is_template and self._names.fullmatch(part):
                    ids += self.content(plain, is_first=False) if plain else []
                    ids += self.literal(part, is_first=False)
                    plain = ""
                else:
                    plain += part
        return ids + (self.content(plain, is_first=False) if plain else [])

    def holds_control(self, text: str) -> str | None:
        """The first control token whose name stands in a text."""
        found = self._names.search(text)
        return found[0] if found else None

    def _inside(self, text: str, is_first: bool, encode: Callable[[str], list[int]]) -> list[int]:
        """Ids of text in the middle of other text: without the blank some tokenizers put in front of every text."""
        if is_first or not self._prefix:
            return encode(text)
        ids, prefix = encode("\n" + text), self._prefix
        assert ids[: len(prefix)] == prefix, "a line feed merges with what follows, although it is a byte of its own"
        return ids[len(prefix) :]


def _line_feed_before(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of a line feed where the tokenizer puts a blank in front of every text (SentencePiece); else nothing."""
    feed, alone, behind = encode_contents(tokenizer, ["\n", "a", "\na"])
    return feed if behind[len(feed) :] != alone and behind[: len(feed)] == feed else []
