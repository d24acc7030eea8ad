"""Text and demonstrations read from disk while training goes on, for files that do not fit into memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tuningfork.batch import TokenBatch
from tuningfork.data.adapters import Placed, conversations, demonstrations_of
from tuningfork.data.demonstrations import is_conversations, numbered_rows, too_long_error
from tuningfork.data.packing import pack_rows
from tuningfork.data.pools import DRAWN_ROWS, POOL_BYTES, Made, Pools
from tuningfork.data.reader import Dataset, Skipped
from tuningfork.data.rendering import LossOn, Renderer
from tuningfork.data.rows import fill_rows
from tuningfork.data.streaming import StreamedRows
from tuningfork.errors import DataError
from tuningfork.model.backbone import Backbone
from tuningfork.model.packing import check_documents
from tuningfork.streams.text import text_loss, text_rows, training_batch
from tuningfork.train.loop import LossOutput
from tuningfork.train.settings import Batching, Packing

if TYPE_CHECKING:
    from tuningfork.stage import StageContext

SAMPLE_ROWS, SAMPLE_BYTES = 4000, 1 << 21
"""What is drawn beforehand: for the audit, a new tokenizer, and to see what form demonstrations have."""


@dataclass(frozen=True)
class Streamed:
    """A data set that is read while training goes on, and canonical rows drawn from all of it beforehand."""

    data: Dataset
    rows: StreamedRows
    sample: list[Placed]

    def report(self, stage: StageContext, pools: Pools) -> None:
        """Record what was met and left out on the way."""
        skipped = self.data.skipped
        stage.figures.update(
            rows=self.rows.num_rows, rows_read=skipped.of, faulty_rows_left_out=skipped.count, streamed=True
        )
        if skipped.count:
            stage.events.say(str(skipped))
        if pools.num_left_out:
            stage.figures["skipped"] = pools.num_left_out
            stage.events.say(f"{pools.num_left_out:,} rows were longer than the context and skipped")


def open_streamed(stage: StageContext, data: Dataset, purpose: str) -> Streamed:
    """Find the rows of the files of `data` (kept in the stage's work folder) and draw a sample of them."""

    def rows(name: str) -> StreamedRows:
        return StreamedRows(
            data, stage.work / "rows", batch_rows=DRAWN_ROWS, seed=stage.seed, purpose=name, say=stage.events.say
        )

    streamed, drawn = rows(purpose), rows(f"{purpose} sample")
    sample: list[Placed] = []
    size, draw = 0, 0
    while draw * DRAWN_ROWS < min(SAMPLE_ROWS, drawn.num_rows) and size < SAMPLE_BYTES:
        found = drawn.placed(draw)
        sample += found
        size += sum(size_of(row) for _, row in found)
        draw += 1
    sample = sample[: drawn.num_rows]
    stage.events.say(
        f"streamed: {streamed.num_rows:,} rows in {len(streamed.blocks.rows):,} blocks; "
        f"audit and tokenizer see {len(sample):,} of them, drawn from everywhere"
    )
    return Streamed(data, streamed, sample)


def size_of(row: Mapping[str, Any]) -> int:
    """Characters of all texts in a row."""
    if isinstance(row, str):
        return len(row)
    if isinstance(row, Mapping):
        return sum(size_of(value) for value in row.values())
    return sum(size_of(value) for value in row) if isinstance(row, list) else 0


def text_pools(
    backbone: Backbone, streamed: Streamed, *, batch_rows: int, length: int, packing: Packing, batching: Batching
) -> Pools:
    """Rows of text of at most `length` tokens."""

    def make(placed: Sequence[Placed], left_over: list[int]) -> Made:
        texts = [row["text"] for _, row in placed]
        if packing != "concatenate":
            return Made(text_rows(backbone, texts, length, packing) if texts else [])
        return Made(*fill_rows(backbone.encode, texts, length, backbone.start_ids, backbone.eos_id, left_over))

    return Pools(streamed.rows, make, size_of, batch_rows=batch_rows, batching=batching, pool_bytes=POOL_BYTES)


@dataclass(frozen=True)
class DemonstrationSettings:
    """How demonstrations become token rows."""

    is_chat: bool
    loss_on: LossOn
    too_long: Literal["refuse", "skip"]
    length: int | None
    """tokens of a packed row; None packs nothing"""


def demonstration_stream(
    backbone: Backbone,
    streamed: Streamed,
    settings: DemonstrationSettings,
    *,
    batch_rows: int,
    batching: Batching,
    micro_batch: int | None,
) -> StreamedText:
    """Batches of demonstrations, each a row or packed."""
    renderer = Renderer(backbone.tokenizer) if settings.is_chat else None  # the sample has set up the tokenizer

    def make(placed: Sequence[Placed], left_over: list[int]) -> Made:
        found = list(demonstrations_of(streamed.data, placed))
        if settings.is_chat:
            found = conversations(found)
        else:
            _refuse_conversations(found)
        source, places = streamed.data.source, [place for place, _ in found]
        rows = numbered_rows(
            backbone, [row for _, row in found], source, renderer=renderer, loss_on=settings.loss_on, places=places,
            refuse=streamed.data.refuse,
        )  # fmt: skip
        most = settings.length or backbone.max_length
        for number, row in rows:
            if len(row.ids) > most and settings.too_long == "refuse":
                what = "a packed row" if settings.length else "the model's context"
                raise too_long_error(places[number], len(row.ids), what, most)
        kept = [row for _, row in rows if len(row.ids) <= most]
        packed = pack_rows(kept, settings.length) if settings.length and kept else kept
        return Made(packed, num_left_out=len(rows) - len(kept))

    forget_sample(streamed.data)
    pools = Pools(streamed.rows, make, size_of, batch_rows=batch_rows, batching=batching, pool_bytes=POOL_BYTES)
    return StreamedText(backbone, pools, name="answers", micro_batch=micro_batch, packed_length=settings.length)


def _refuse_conversations(rows: Sequence[Placed]) -> None:
    for place, row in rows:
        if is_conversations([row]):
            raise DataError(
                f"{place}: a conversation, and all rows looked at before training were pairs of texts; streamed data "
                "need one form, which `tuningfork data convert --to conversation` gives them"
            )


def forget_sample(data: Dataset) -> None:
    """Count faulty rows anew: those of the sample come again."""
    data.skipped = Skipped()


class StreamedText:
    """Batches of token rows from pools and their next-token loss. Its state is that of the pools."""

    at_boundary = True

    def __init__(
        self, backbone: Backbone, pools: Pools, *, name: str, micro_batch: int | None, packed_length: int | None
    ) -> None:
        self.name, self.weight, self.micro_batch = name, 1.0, micro_batch
        self.backbone, self.pools = backbone, pools
        if packed_length is not None:
            check_documents(backbone, packed_length)

    def next_batch(self, step: int) -> TokenBatch:
        """The batch behind the one before; `step` is counted by the loop."""
        return training_batch(self.backbone, self.pools.batch())

    def loss(self, batch: TokenBatch) -> LossOutput:
        """Mean over all target tokens of the optimizer step."""
        return text_loss(self.backbone, batch)

    def observe(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Nothing to learn from a step's metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """What decides the next batch."""
        return self.pools.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.pools.restore(state)
