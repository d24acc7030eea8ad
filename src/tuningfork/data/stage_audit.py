"""The audit a stage makes before it trains: said, kept beside what the stage writes, and stopping what cannot work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuningfork.artifacts.files import write_json
from tuningfork.data.adapters import Placed
from tuningfork.data.audit import audit
from tuningfork.data.findings import AuditReport
from tuningfork.data.rows import TokenRow
from tuningfork.data.token_audit import Tokens

if TYPE_CHECKING:
    from tuningfork.data.reader import Dataset
    from tuningfork.model.backbone import Backbone
    from tuningfork.stage import StageContext

AUDIT_FILE = "audit.json"


def audit_stage(
    stage: StageContext,
    data: Dataset,
    rows: Sequence[Placed],
    shape: str,
    *,
    backbone: Backbone | None = None,
    token_rows: Sequence[TokenRow] = (),
    is_packed: bool = False,
    heldout: Sequence[Placed] = (),
) -> AuditReport:
    """Audit what is about to be trained on, write `audit.json`, say what was found; DataError where it is impossible data.

    `rows` are canonical rows of `shape`, `token_rows` what is trained on, one for each row unless `is_packed`.
    `heldout` are rows of the same shape that must not occur among them.
    """
    tokens = None
    if backbone is not None and token_rows:
        from tuningfork.data.tokens import facts_of

        places = [] if is_packed or len(token_rows) != len(rows) else [place for place, _ in rows]
        tokens = Tokens(token_rows, facts_of(backbone), places)
    report = audit(
        rows,
        shape,
        source=data.source,
        explanation=data.explanation,
        skipped=data.skipped.count,
        evaluation=heldout,
        tokens=tokens,
    )
    write_json(stage.out / AUDIT_FILE, report.to_json())
    if data.skipped.count:
        stage.events.say(str(data.skipped))
    for line in report.lines():
        stage.events.say(f"data: {line}")
    stage.figures["faulty_rows_left_out"] = data.skipped.count
    report.check()
    return report
