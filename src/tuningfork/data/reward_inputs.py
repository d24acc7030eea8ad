"""How a prompt and an answer are put together for a reward model: the same in training, on its card and in RL.

    plain      the answer follows the prompt's text at once
    dialogue   `Human:` and `Assistant:` paragraphs; a prompt that is such a dialogue already stays as it is
    chat       the chat template that came with the model
    bare       no prompt, no BOS, no EOS: texts of which any window may be read
What stands in a saved reward model's `template` is all there is to know about it. The answer is never cut; a prompt that
leaves no room for it loses its beginning, as the older turns of a long dialogue would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from tuningfork.data.dialogue import is_tagged, tagged_text
from tuningfork.errors import ModelError

if TYPE_CHECKING:
    from tuningfork.data.rendering import Renderer
    from tuningfork.model.backbone import Backbone

Form = Literal["plain", "dialogue", "chat", "bare"]
FORMS: tuple[Form, ...] = ("plain", "dialogue", "chat", "bare")


class TokenizedAnswer(NamedTuple):
    """Ids of a prompt and of an answer to it, what ends the answer included."""

    prompt: list[int]
    response: list[int]


class PlainAnswer(NamedTuple):
    """An answer as text. `messages` are the prompt's turns where it is a dialogue; they win over `prompt` in `chat`."""

    prompt: str
    response: str
    messages: Sequence[Mapping[str, Any]] | None = None
    has_ended: bool = True


def form_of(template: Mapping[str, Any]) -> Form:
    """The form that a reward model was trained with; ModelError for one that is not known here."""
    if not template.get("special_tokens", True):
        return "bare"
    form = template.get("form", "plain")
    if form not in FORMS:
        raise ModelError(
            f"the reward model was trained with the form {form!r}; this Tuningfork knows {', '.join(FORMS)}"
        )
    return form


class RewardInputs:
    """Turns answers into ids for one backbone. `cut` counts the prompts that lost their beginning."""

    def __init__(self, backbone: Backbone, form: Form) -> None:
        """DataError for `chat` where the model has no template."""
        self.backbone, self.form, self.cut = backbone, form, 0
        self._renderer: Renderer | None = None
        if form == "chat":
            from tuningfork.data.rendering import Renderer

            self._renderer = Renderer(backbone.tokenizer)

    def encode(self, answers: Sequence[PlainAnswer]) -> list[TokenizedAnswer]:
        """Ids of each answer, in order."""
        if self._renderer is not None:
            return [self._chat(answer, self._renderer) for answer in answers]
        backbone = self.backbone
        texts = [self._texts(answer) for answer in answers]
        prompts = backbone.encode([prompt for prompt, _ in texts])
        responses = backbone.encode([response for _, response in texts])
        if self.form == "bare":
            return [TokenizedAnswer(*pair) for pair in zip(prompts, responses, strict=True)]
        return [
            TokenizedAnswer([*backbone.start_ids, *prompt], response + [backbone.eos_id] * answer.has_ended)
            for answer, prompt, response in zip(answers, prompts, responses, strict=True)
        ]

    def fit(self, answer: TokenizedAnswer) -> TokenizedAnswer | None:
        """The answer within the model's context, its prompt cut on the left; None where the answer alone does not fit."""
        start = self.backbone.start_ids if self.form != "bare" else []
        room = self.backbone.max_length - len(answer.response)
        if len(answer.prompt) <= room:
            return answer
        if room < len(start):
            return None
        self.cut += 1
        kept = answer.prompt[len(answer.prompt) - (room - len(start)) :] if room > len(start) else []
        return TokenizedAnswer([*start, *kept], answer.response)

    def _texts(self, answer: PlainAnswer) -> tuple[str, str]:
        if self.form != "dialogue":
            return answer.prompt, answer.response
        turns = [dict(turn) for turn in answer.messages or [{"role": "user", "content": answer.prompt}]]
        prompt = answer.prompt if is_tagged(answer.prompt) else tagged_text(turns, is_open=True)
        return prompt, answer.response if answer.response[:1].isspace() else f" {answer.response}"

    def _chat(self, answer: PlainAnswer, renderer: Renderer) -> TokenizedAnswer:
        turns = [
            {"role": str(turn["role"]), "content": str(turn["content"])}
            for turn in answer.messages or [{"role": "user", "content": answer.prompt}]
        ]
        if not answer.response.strip():
            end = self.backbone.stop_ids[-1]
            return TokenizedAnswer(renderer.prompt(turns), [end] * answer.has_ended)
        row = renderer.conversation([*turns, {"role": "assistant", "content": answer.response}], loss_on="last")
        first, last = row.is_target.index(True), len(row.ids) - row.is_target[::-1].index(True)
        response = row.ids[first:last]
        return TokenizedAnswer(row.ids[:first], response if answer.has_ended else response[:-1])
