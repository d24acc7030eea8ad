"""Reads and checks the spec of the world `manners`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from tuningfork.data.yaml_files import checked, read_yaml
from tuningfork.settings import Settings

HERE = Path(__file__).parent
Use = Literal["taught", "pretraining", "unseen"]
Kind = Literal["refusal", "blunt", "evasive", "help", "mistaken"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class ToolUses(Settings):
    """What a tool is used for."""

    harmless: list[str] = Field(min_length=1)
    harmful: list[str] = Field(min_length=1)


class HeldOut(Settings):
    """What is kept from everything after pretraining; verbs of each of both kinds."""

    test_verbs: int = Field(ge=1)
    monitor_verbs: int = Field(ge=1)
    test_objects: int = Field(ge=1)
    monitor_objects: int = Field(ge=1)


class RequestForm(Settings):
    """A form of requests with {v} and {o}, and the stages it may be used in."""

    text: str
    use: Use


class Forms(Settings):
    """Forms of answers: refusals with {r}, a reason, evasive ones with {s}, a subject, help with {t}, a tool."""

    refusal: list[str] = Field(min_length=1)
    blunt: list[str] = Field(min_length=1)
    evasive: list[str] = Field(min_length=1)
    help: list[str] = Field(min_length=1)


class Orders(Settings):
    """Kinds of answers, best first."""

    harmful: list[Kind]
    harmless: list[Kind]


class Says(Settings):
    """What judging text says of requests, and of answers by kind."""

    harmful: str
    harmless: str
    refusal: str
    blunt: str
    evasive: str
    help: str
    mistaken: str


class Statements(Settings):
    """Forms of what is said about verbs of both sides, and of one."""

    both: list[str] = Field(min_length=1)
    harmful: list[str] = Field(min_length=1)
    harmless: list[str] = Field(min_length=1)


class Judged(Settings):
    """How many judging texts of each sort there are."""

    classes: int = Field(ge=0)
    pairs: int = Field(ge=0)
    critiques: int = Field(ge=0)
    revisions: int = Field(ge=0)


class Spec(Settings):
    """The whole language. Every field is explained beside it in spec.yaml."""

    version: Literal[1]
    tools: dict[str, ToolUses] = Field(min_length=2)
    objects: list[str] = Field(min_length=4)
    held_out: HeldOut
    requests: list[RequestForm] = Field(min_length=3)
    answers: Forms
    reasons: list[str] = Field(min_length=1)
    subjects: list[str] = Field(min_length=1)
    pretraining_answers: dict[Kind, float]
    demonstrated_answers: dict[Kind, float]
    orders: Orders
    judged_orders: Orders | None = None
    says: Says
    worths: list[str] = Field(min_length=len(KINDS), max_length=len(KINDS))
    critique: str
    clauses: Statements
    remarks: Statements
    remark_share: float = Field(ge=0, lt=1)
    clauses_per_verb: int = Field(ge=1)
    requests_per_verb: int = Field(ge=1)
    judged: Judged
    judging_noise: float = Field(ge=0, lt=1)
    judging_by_chance: bool
    sft_rows: int = Field(ge=1)
    requests_per_training_verb: int = Field(ge=1)
    check_rows: int = Field(ge=10)
    unrelated_rows: int = Field(ge=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        verbs = [verb for uses in self.tools.values() for verb in (*uses.harmless, *uses.harmful)]
        names = [*verbs, *self.objects, *self.tools]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{twice!r} stands twice among tools, verbs and objects")
        for side in ("harmless", "harmful"):
            count = sum(len(getattr(uses, side)) for uses in self.tools.values())
            if count <= self.held_out.test_verbs + self.held_out.monitor_verbs:
                raise ValueError(f"held_out leaves none of the {count} {side} verbs to train on")
            if any(sorted(getattr(one, side)) != sorted(KINDS) for one in (self.orders, self.judged_orders) if one):
                raise ValueError(
                    f"orders and critiques of {side} requests have to name each of {', '.join(KINDS)} once"
                )
        if len(self.objects) <= self.held_out.test_objects + self.held_out.monitor_objects:
            raise ValueError("held_out leaves no objects to train on")
        if missing := {"taught", "pretraining", "unseen"} - {form.use for form in self.requests}:
            raise ValueError(f"no request has use: {missing.pop()}")
        for slot, forms in (("{r}", self.answers.refusal), ("{s}", self.answers.evasive), ("{t}", self.answers.help)):
            if bad := next((form for form in forms if slot not in form), None):
                raise ValueError(f"answers: {bad!r} lacks {slot}")
        return self


def load_spec(source: str | Path = "spec") -> Spec:
    """The spec in a file, or one shipped with the package (`spec`, `classes`); DataError with file and place for what is none.

    `extends` names another spec, whose fields hold where the file gives none.
    """
    shipped = HERE / f"{source}.yaml"
    path = shipped if shipped.exists() else Path(source)
    content = read_yaml(path)
    if isinstance(content, dict) and (base := content.pop("extends", None)):
        other = HERE / f"{base}.yaml" if (HERE / f"{base}.yaml").exists() else path.parent / str(base)
        content = load_spec(other).model_dump() | content
    return checked(Spec, content, path, "spec")
