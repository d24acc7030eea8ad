"""What is kept of how an artifact was made: `manifest.json` for programs, `card.md` for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tuningfork.artifacts.files import write_json, write_text
from tuningfork.errors import RunError
from tuningfork.settings import Settings

VERSION = 1
FILE, CARD = "manifest.json", "card.md"
FINDINGS = "findings.md"
"""What a stage has to say of its artifact beside figures, as Markdown; it becomes a part of the card."""

Status = Literal["running", "complete", "gate failed"]


class ManifestGate(Settings):
    """The result of one acceptance check."""

    name: str
    passed: bool
    message: str
    figures: dict[str, Any] = Field(default_factory=dict)


class Manifest(Settings):
    """How an artifact was made."""

    version: int = VERSION
    id: str
    kind: str
    key: str
    """hash of inputs, settings, seed, code, device class and precision"""
    status: Status = "running"
    inputs: dict[str, dict[str, str]] = Field(default_factory=dict)
    """by field: what the recipe named, and the key of its content"""
    settings: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = ""
    precision: str = ""
    threads: int = 0
    gates: list[ManifestGate] = Field(default_factory=list)
    figures: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    """time of computing, over all attempts"""
    peak_memory_mb: float = 0.0
    started: str = ""
    finished: str = ""

    @property
    def failed_gates(self) -> list[ManifestGate]:
        """The checks that did not pass."""
        return [gate for gate in self.gates if not gate.passed]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json and, of a finished stage, card.md."""
    write_json(folder / FILE, manifest.model_dump(mode="json"))
    if manifest.status != "running":
        findings = folder / FINDINGS
        write_text(
            folder / CARD, render_card(manifest, findings.read_text(encoding="utf-8") if findings.is_file() else "")
        )


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in an artifact's folder; None where there is none, RunError where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.get("version") != VERSION:
            raise RunError(f"{path}: manifest of version {data.get('version')}, this Tuningfork reads {VERSION}")
        return Manifest.model_validate(data)
    except (json.JSONDecodeError, ValidationError) as error:
        raise RunError(f"{path}: not a manifest ({str(error).splitlines()[0]})") from error


def render_card(manifest: Manifest, findings: str = "") -> str:
    """A short page about one artifact, in Markdown, with what its stage found."""
    lines = [
        f"# {manifest.id}",
        "",
        f"Stage `{manifest.kind}`, {manifest.status}, key `{manifest.key[:16]}`, seed {manifest.seed}.",
        f"Made in {manifest.seconds:.1f} s on {manifest.device} ({manifest.precision}, {manifest.threads} threads), "
        f"peak memory {manifest.peak_memory_mb:,.0f} MB, finished {manifest.finished}.",
    ]
    if findings:
        lines += ["", findings.rstrip()]
    if manifest.inputs:
        lines += ["", "## Made from", ""]
        lines += [
            f"- {field}: `{entry['reference']}` (`{entry['key'][:16]}`)" for field, entry in manifest.inputs.items()
        ]
    if manifest.figures:
        lines += ["", "## Figures", "", "| figure | value |", "|---|---|"]
        lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in manifest.figures.items()]
    if manifest.gates:
        lines += ["", "## Gates", ""]
        lines += [
            f"- {gate.name}: {'passed' if gate.passed else '**failed**'}, {gate.message}" for gate in manifest.gates
        ]
    lines += ["", "## Settings", "", "```json", json.dumps(manifest.settings, indent=2, ensure_ascii=False), "```"]
    lines += ["", "Versions: " + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()) + "."]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
