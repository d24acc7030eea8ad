"""What this machine gives a run: versions against tested ranges, threads, device, precision, disk, memory, extras."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from tuningfork.artifacts.store import STORE_VARIABLE
from tuningfork.runtime import RuntimeSettings, available_threads, start_runtime

_OPTIONAL = {
    "bitsandbytes": "no 4-bit and 8-bit weights: a base model takes two to four times the memory",
    "vllm": "rollouts come from the built-in sampler, which is slower for models of a billion parameters and more",
    "tensorboard": "no TensorBoard files; metrics.jsonl and the report hold the same curves",
}
_DISK_GB, _MEMORY_GB = 2.0, 3.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: fine, a cost, or a fault that stops runs."""

    level: Literal["ok", "cost", "FAULT"]
    subject: str
    text: str


def examine(folder: Path) -> Iterator[Finding]:
    """Findings about this machine for runs below `folder`. Imports torch last."""
    python = platform.python_version()
    yield Finding("ok" if sys.version_info >= (3, 11) else "FAULT", "python", f"{python} (3.11 or newer)")
    yield from _versions()
    yield from _space(folder)
    threads = available_threads()
    level = "ok" if threads > 1 else "cost"
    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    yield Finding(level, "cores", f"{threads} of {os.cpu_count()} for this process; OMP_NUM_THREADS={asked}")
    yield _waiting()
    for package, cost in _OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            yield Finding("ok", package, f"not installed: {cost}")
    yield Finding(
        "ok", "store", os.environ.get(STORE_VARIABLE) or f"{folder / '.store'} (set {STORE_VARIABLE} to share one)"
    )
    yield from _device()


def _versions() -> Iterator[Finding]:
    try:
        wanted = [line for line in requires("tuningfork") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        yield Finding(
            "cost", "tuningfork", "not installed (run from its source): versions of libraries are not checked"
        )
        return
    for line in wanted:
        match = re.match(r"([A-Za-z0-9_.-]+)\s*\(?([^;)]*)", line)
        assert match, line
        name, tested = match[1], match[2].strip()
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("FAULT", name, f"missing; tested with {tested}")
            continue
        is_tested = in_range(found, tested)
        yield Finding(
            "ok" if is_tested else "cost",
            name,
            f"{found} ({'tested' if is_tested else 'NOT tested; tested is'} {tested})",
        )


def in_range(found: str, tested: str) -> bool:
    """Whether version `found` is in a range such as `>=2.11,<2.14`."""
    have = _release(found)
    for clause in filter(None, (part.strip() for part in tested.split(","))):
        operator = clause.rstrip("0123456789.")
        bound = _release(clause[len(operator) :])
        compared = (have > bound) - (have < bound)
        if not {">=": compared >= 0, "<": compared < 0, "<=": compared <= 0, ">": compared > 0, "==": compared == 0}[
            operator
        ]:
            return False
    return True


def _release(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(\.\d+)*", text)
    assert numbers, text
    parts = [int(part) for part in numbers[0].split(".")]
    return tuple(parts + [0] * (4 - len(parts)))


def _space(folder: Path) -> Iterator[Finding]:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    yield Finding(
        "ok" if free > _DISK_GB else "FAULT",
        "disk",
        f"{free:,.1f} GB free at {existing.resolve()} (a demo run takes under {_DISK_GB:g})",
    )
    memory = _available_memory_gb()
    if memory is not None:
        yield Finding(
            "ok" if memory > _MEMORY_GB else "cost",
            "memory",
            f"{memory:,.1f} GB available (the demo takes under {_MEMORY_GB:g})",
        )


def _available_memory_gb() -> float | None:
    """What Linux says is available, within the limit of a container; None elsewhere."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    available = (
        float(next(line.split()[1] for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable")))
        * 1024
    )
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and limit.read_text().strip().isdecimal():
        available = min(available, float(limit.read_text()) - float(used.read_text()))
    return available / 1e9


def _waiting() -> Finding:
    policy = os.environ.get("OMP_WAIT_POLICY")
    if policy is None or policy.upper() == "PASSIVE":
        return Finding("ok", "OMP_WAIT_POLICY", "PASSIVE, which runs set themselves" if policy is None else "PASSIVE")
    return Finding(
        "cost",
        "OMP_WAIT_POLICY",
        f"{policy}: threads spin at barriers, ten times slower when anything else runs; unset it",
    )


def _device() -> Iterator[Finding]:
    runtime = start_runtime(RuntimeSettings())
    yield Finding("ok", "device", f"{runtime.device}, {runtime.threads} threads")
    if runtime.precision == "bf16":
        yield Finding("ok", "precision", "bf16: the hardware multiplies it")
    else:
        yield Finding("ok", "precision", "fp32: on a GPU with fast bf16 large models would take about half the time")
