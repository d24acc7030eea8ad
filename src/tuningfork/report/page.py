"""The report: one self-contained HTML page made from a run's files. No script, no network, light and dark."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tuningfork import __version__
from tuningfork.evals import numbers
from tuningfork.report import charts, race, views
from tuningfork.report.data import data_view
from tuningfork.report.folder import RunFolder, StageRun, read_run
from tuningfork.report.reward_card import reward_cards
from tuningfork.report.untrusted import plain, show, show_change

TEMPLATES = Path(__file__).parent / "templates"


def render_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path. Renders what there is; RunError where no run is."""
    path = run_folder / "report.html"
    temporary = path.with_name(".report.html.tmp")
    temporary.write_text(render_page(read_run(run_folder)), encoding="utf-8")
    os.replace(temporary, path)
    return path


def render_page(run: RunFolder) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        figure=numbers.figure,
        signed=numbers.signed,
        p_value=numbers.p_value,
        duration=numbers.duration,
        memory=numbers.memory,
        show=show,
        plain=plain,
        markdown=_markdown,
    )
    # {{ text }} of anything passes through `show`: a name in a data file is as untrusted as a model's answer
    environment.finalize = lambda value: value if isinstance(value, Markup) else show(value, limit=100_000)
    summary = run.summary
    name = summary.recipe if summary and summary.recipe else _recipe_name(run.recipe) or run.path.resolve().name
    times = [(stage.id, views.seconds(stage) or 0.0) for stage in run.stages]
    memories = [peak for stage in run.stages if (peak := views.peak_memory(stage)) is not None]
    return environment.get_template("report.html.j2").render(
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        version=__version__,
        name=name,
        run=run,
        summary=summary,
        headline=views.headline(run),
        total_seconds=summary.seconds if summary and summary.seconds is not None else sum(t for _, t in times) or None,
        peak_memory=summary.peak_memory_mb
        if summary and summary.peak_memory_mb is not None
        else max(memories, default=None),
        finished=_finished(run),
        times=charts.share_bar(times),
        proxy_gold=views.proxy_and_gold(run),
        ledger=views.ledger(summary) if summary else None,
        samples=views.samples(run),
        shown=views.shown(run),
        regressions=views.regressions(run),
        reward_cards=reward_cards(run),
        environment=_environment(run),
        settings_text=_settings_text,
        show_change=show_change,
        charts=charts,
        views=views,
        data_view=data_view,
        race=race,
    )


def _recipe_name(recipe: str | None) -> str | None:
    """The name a recipe gives itself; None where it gives none or is not YAML."""
    try:
        data = yaml.safe_load(recipe or "")
    except yaml.YAMLError:
        return None
    return str(data["name"]) if isinstance(data, dict) and data.get("name") else None


def _finished(run: RunFolder) -> str:
    """When the last stage ended, as its manifest says."""
    times = [
        str(one.manifest["finished"]) for stage in run.stages for one in stage.runs if one.manifest.get("finished")
    ]
    return max(times, default="")[:16].replace("T", " ")


def _environment(run: RunFolder) -> list[tuple[str, str]]:
    """Versions and machine of the last stage, flattened."""
    found = []
    for one in run.stages[-1].runs[:1] if run.stages else []:
        for key in ("versions", "device", "precision", "threads"):
            value = one.manifest.get(key)
            if isinstance(value, dict):
                found += [(str(name), str(inner)) for name, inner in value.items()]
            elif value is not None:
                found.append((key, str(value)))
    return found


def _settings_text(run: StageRun) -> str:
    settings = run.manifest.get("settings")
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100) if settings else ""


def _markdown(text: str) -> Markup:
    """A card as HTML: raw HTML is escaped, images are left as links, headings go below those of the page."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(plain(text))
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 3)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
