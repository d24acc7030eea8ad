"""Let people judge a model's answers: serves the labelling page and waits for so many judgements."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tuningfork.feedback.project import ProjectSettings
from tuningfork.rollout.settings import SamplingSettings
from tuningfork.settings import Input, Settings
from tuningfork.stage import StageContext

if TYPE_CHECKING:
    from tuningfork.feedback.database import Database
    from tuningfork.feedback.policy import Filler
    from tuningfork.feedback.service import Service

_LOOK_EVERY = 0.5


class StageSettings(Settings):
    """Settings of the stage `label`."""

    model: Input = "sft/model"
    """model whose answers are judged"""
    prompts: Input
    """prompts that are answered: `{"id", "prompt", "root"}` rows"""
    draws: tuple[SamplingSettings, ...] = Field(min_length=2, max_length=8)
    """how the answers to a prompt are drawn, one each; more than two are ranked"""
    judgements: int = Field(default=200, ge=1)
    """judgements to wait for; the lead may go on earlier with "Train now" """
    minimum: int = Field(default=20, ge=1)
    """judgements without which the run does not go on"""
    ahead: int = Field(default=60, ge=1)
    """judgements for which answers are drawn ahead of the annotators"""
    project: ProjectSettings = ProjectSettings()
    """what the page asks: criteria, guidelines, overlap, repeats"""
    annotators: tuple[str, ...] = ()
    """who gets a link, beside the lead"""
    port: int = Field(default=0, ge=0, le=65535)
    """port of the page on this machine; 0 takes a free one"""
    requests: float = Field(default=20.0, ge=1)
    """requests a second that one annotator may send"""


def run(stage: StageContext, settings: StageSettings) -> None:
    """Draw answers, serve the page until there are enough judgements, write them with where they come from.

    After Ctrl-C the same command goes on with every judgement that was given, also under a newer Tuningfork: what people did
    belongs to the model and the prompts they saw, not to the code that showed them.
    """
    from tuningfork.feedback.database import Database
    from tuningfork.feedback.export import export
    from tuningfork.feedback.items import count
    from tuningfork.feedback.policy import Filler, prompts_of
    from tuningfork.feedback.project import write_project
    from tuningfork.feedback.sampler import Draw, Sampler
    from tuningfork.feedback.service import Service

    file = _labels_file(stage, settings)
    database = Database.open(file)
    write_project(database, settings.project)
    model = stage.inputs["model"]
    draws = [Draw(0, draw.model_dump(mode="json", exclude_defaults=True)) for draw in settings.draws]
    sampler = Sampler([model.reference], [model.key], draws, seed=stage.seed)
    prompts = prompts_of(stage.inputs["prompts"].reference, stage.seed)
    filler = Filler(database, settings.project, sampler, prompts, ahead=settings.ahead)
    enough = _Enough(database, settings)
    service = Service(database, settings.project, trainer=enough, supply=filler)
    try:
        with _Served(service, stage, settings, file.with_suffix(".links")):
            filler.start()
            _wait(stage, settings, database, filler, enough)
    finally:
        filler.stop()
        sampler.stop()
    found = export(database, stage.out)
    counts = count(database)
    if database.is_sqlite:
        (stage.out / "labels.db").unlink(missing_ok=True)
        database.backup(stage.out / "labels.db")
    database.close()
    stage.figures.update(judgements=counts.judged, without_choice=filler.without_choice, **_shares(found["counts"]))
    stage.gate(
        "labels",
        counts.judged >= settings.minimum,
        f"{counts.judged:,} judgements (at least {settings.minimum}){': ' + filler.fault if filler.fault else ''}",
    )


def _labels_file(stage: StageContext, settings: StageSettings) -> Path:
    """The database of these answers to these prompts, beside the work folder, which changes with the code."""
    draws = [draw.model_dump(mode="json") for draw in settings.draws]
    content = [stage.inputs["model"].key, stage.inputs["prompts"].key, draws, stage.seed]
    name = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return stage.work.parent / f"{stage.id}-labels" / f"{name}.db"


class _Enough:
    """What "Train now" means to a waiting stage: go on."""

    def __init__(self, database: Database, settings: StageSettings) -> None:
        self._database, self._settings = database, settings
        self.asked = threading.Event()

    def describe(self) -> dict[str, Any]:
        from tuningfork.feedback.items import count

        judged = count(self._database).judged
        says = f"{judged:,} of {self._settings.judgements:,} judgements; the run goes on by itself when all are there."
        return {"rounds": [], "ready": judged >= self._settings.minimum, "says": says}

    def start(self) -> None:
        from tuningfork.feedback.judging import Refused

        if not self.describe()["ready"]:
            raise Refused(f"at least {self._settings.minimum} judgements are needed")
        self.asked.set()

    def report(self, number: int) -> Path | None:
        return None


class _Served:
    """The page, served from a thread while the stage waits."""

    def __init__(self, service: Service, stage: StageContext, settings: StageSettings, links: Path) -> None:
        import uvicorn

        from tuningfork.feedback.links import make_links
        from tuningfork.feedback.security import Limits
        from tuningfork.feedback.server import build_app, server_config
        from tuningfork.feedback.serving import link_of, listen

        self.listener = listen("127.0.0.1", settings.port)
        host, port = self.listener.getsockname()[:2]
        app = build_app(service, limits=Limits(requests=settings.requests))
        self.server = uvicorn.Server(server_config(app, host, port))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True)
        tokens = make_links(service.database, links, "lead", settings.annotators)
        for name, token in tokens.items():
            stage.events.say(f"{name} labels at {link_of(f'http://{host}:{port}', token)}")

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exc: object) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


def _wait(stage: StageContext, settings: StageSettings, database: Database, filler: Filler, enough: _Enough) -> None:
    """Until there are enough judgements, or nothing is left to judge, or the lead goes on."""
    from tuningfork.errors import ModelError
    from tuningfork.feedback.items import count

    shown = 0
    with stage.events.progress(settings.judgements, "labels", unit="judgement") as bar:
        while True:
            counts = count(database)
            bar.advance(counts.judged - shown)
            shown = counts.judged
            if counts.judged >= settings.judgements or enough.asked.is_set():
                return
            if filler.is_done and filler.fault and not counts.left:
                raise ModelError(f"no answers to judge: {filler.fault}")
            if filler.is_done and not counts.left:
                stage.events.say("every prompt has its judgements")
                return
            stage.stop.check()
            enough.asked.wait(_LOOK_EVERY)


def _shares(counts: dict[str, int]) -> dict[str, float]:
    total = max(1, counts.get("judgements", 0))
    return {f"{name}_share": counts.get(name, 0) / total for name in ("ties", "all_bad", "demonstrations")}
