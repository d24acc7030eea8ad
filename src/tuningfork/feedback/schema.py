"""The tables of the labelling database. What people did is only ever added; what changes is who works on what.

Appended:  judgements, withdrawals (an undo), events, exclusions
Changing:  items.open_slots, assignments.state (leases), annotators, sessions, project, rounds

Times are seconds since 1970 (UTC). Answers of an item are numbered as in `items.candidates`; `shown` is the order in which an
annotator saw them, so `shown[0]` is the number of the answer on the left.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
)

VERSION = 1
"""Version of these tables; `migrations` brings an older database to it."""

PAIR, RANK, CHAT = "pair", "rank", "chat"
"""`items.task`: two answers, K answers to rank, two replies in a conversation with the model."""
ORDINARY, GOLD, REPEAT, TALK = "ordinary", "gold", "repeat", "talk"
"""`assignments.purpose`: asked for its judgement, to compare with a known answer, to compare with the annotator's earlier one,
a turn of the annotator's own talk with the model."""
OPEN, JUDGED, SKIPPED, RELEASED = "open", "judged", "skipped", "released"
"""`assignments.state`: on somebody's screen, answered, passed over (also when flagged), given back or expired."""
LEAD, ANNOTATOR = "lead", "annotator"
"""`annotators.role`: a lead also sees quality, exports and starts training."""

metadata = MetaData()

project = Table(
    "project",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)
"""Of the whole project: `version` of the tables, a random `id`, `settings` (see `project.ProjectSettings`)."""

annotators = Table(
    "annotators",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False, default=ANNOTATOR),
    Column("kind", Text, nullable=False, default="person"),  # as data.judgements.Rater.kind
    Column("token_hash", Text, nullable=False, unique=True),  # of the link that lets the annotator in
    Column("created_at", Double, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),  # of the cookie
    Column("annotator", Text, ForeignKey("annotators.name"), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("client", Text, nullable=False, default=""),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("annotator", Text, ForeignKey("annotators.name"), nullable=False),
    Column("is_excluded", Boolean, nullable=False),  # the latest row of an annotator holds
    Column("reason", Text, nullable=False, default=""),
    Column("by", Text, nullable=False),
    Column("at", Double, nullable=False),
)
"""Whose judgements are left out of exports and figures; each change is a new row, so it can be taken back."""

items = Table(
    "items",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # Judgement.item
    Column("root", JSON, nullable=False),  # a string; as JSON because PostgreSQL's text holds no NUL
    Column("task", Text, nullable=False),
    Column("prompt", JSON, nullable=False),  # a string
    Column("messages", JSON(none_as_null=True)),
    Column("prompt_ids", JSON(none_as_null=True)),
    Column("candidates", JSON, nullable=False),  # as data.judgements.Candidate, K of them
    Column("wanted", Integer, nullable=False, default=1),  # judgements by different annotators; 0 for gold and chat
    Column("open_slots", Integer, nullable=False, default=1),  # wanted - on a screen - judged
    Column("priority", Double, nullable=False, default=0.0),  # highest first, then in order of number
    Column("gold", JSON(none_as_null=True)),  # the known ranking, for items that test annotators
    Column("source", Text, nullable=False, default=""),
    Column("round", Integer, nullable=False, default=0),
    Column("conversation", Text),
    Column("turn", Integer),
    Column("created_at", Double, nullable=False),
    CheckConstraint("open_slots >= 0 AND open_slots <= wanted", name="slots"),
    UniqueConstraint("conversation", "turn"),
)
Index(
    "items_to_ask",
    items.c.priority.desc(),
    items.c.number,
    sqlite_where=items.c.open_slots > 0,
    postgresql_where=items.c.open_slots > 0,
)
Index("items_wanted", items.c.wanted)
Index("items_gold", items.c.number, sqlite_where=items.c.gold.is_not(None), postgresql_where=items.c.gold.is_not(None))

assignments = Table(
    "assignments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("item", Integer, ForeignKey("items.number"), nullable=False),
    Column("annotator", Text, ForeignKey("annotators.name"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("shown", JSON, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),  # how often its judgement was withdrawn
    Column("assigned_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("acted_at", Double),  # when it was judged, skipped or flagged; undo takes the latest
    UniqueConstraint("annotator", "item", "purpose"),
)
_IS_OPEN = assignments.c.state == OPEN
_HOLDS_SCREEN = and_(_IS_OPEN, assignments.c.purpose != TALK)
Index("assignments_expiry", assignments.c.expires_at, sqlite_where=_IS_OPEN, postgresql_where=_IS_OPEN)
Index(
    "assignments_one_open",  # however many tabs and servers there are
    assignments.c.annotator,
    unique=True,
    sqlite_where=_HOLDS_SCREEN,
    postgresql_where=_HOLDS_SCREEN,
)
Index("assignments_item", assignments.c.item)
Index("assignments_acted", assignments.c.annotator, assignments.c.acted_at)

judgements = Table(
    "judgements",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),  # made by the client: sent twice it is still one
    Column("assignment", Text, ForeignKey("assignments.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("item", Integer, ForeignKey("items.number"), nullable=False),
    Column("annotator", Text, ForeignKey("annotators.name"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("shown", JSON, nullable=False),
    Column("ranking", JSON, nullable=False),  # numbers of answers, best first, tied ones together
    Column("all_bad", Boolean, nullable=False, default=False),
    Column("strength", Double, nullable=False, default=0.0),  # 0 not asked or tie, 1 slightly, 2 clearly, 3 strongly
    Column("ratings", JSON, nullable=False, default=list),  # for each answer {criterion: number}
    Column("note", Text, nullable=False, default=""),
    Column("edit", Text),
    Column("seconds", Double),  # with the page in front, as the page measured
    UniqueConstraint("assignment", "attempt"),
)
Index("judgements_purpose", judgements.c.purpose)
Index("judgements_annotator", judgements.c.annotator, judgements.c.at)
Index("judgements_item", judgements.c.item)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("judgement", Text, ForeignKey("judgements.id"), primary_key=True),
    Column("at", Double, nullable=False),
)
"""Judgements taken back with undo: they stay, and count no more."""

events = Table(
    "events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),  # made by the client for what it sends
    Column("at", Double, nullable=False),
    Column("annotator", Text, ForeignKey("annotators.name")),
    Column("assignment", Text, ForeignKey("assignments.id")),
    Column(
        "kind", Text, nullable=False
    ),  # shown, judged, skipped, flagged, undone, late, released, entered, excluded ...
    Column("details", JSON, nullable=False, default=dict),
)
Index("events_assignment", events.c.assignment)
Index("events_kind", events.c.kind, events.c.annotator)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("annotator", Text, ForeignKey("annotators.name"), nullable=False),
    Column("started_at", Double, nullable=False),
)
"""Talks with the model; each turn is an item of the task `chat`."""

rounds = Table(
    "rounds",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("state", Text, nullable=False),  # running, complete, failed
    Column("num_judgements", Integer, nullable=False),
    Column("run", Text, nullable=False, default=""),  # the run's folder
    Column("message", Text, nullable=False, default=""),
)
"""Trainings started from the page."""
