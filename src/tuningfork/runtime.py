"""Where a run computes: device, precision, threads. Settled before torch is imported, because OpenMP reads its
environment once."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tuningfork.errors import RecipeError
from tuningfork.settings import Settings

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class RuntimeSettings(Settings):
    """Device, precision and threads of a run."""

    device: Device = "auto"
    """`auto` takes cuda, then mps, then cpu"""
    precision: Precision = "auto"
    """`auto` takes bf16 on a GPU that computes in it, else fp32; log-probs, KL and losses are fp32 always"""
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """CPU threads; `auto` takes OMP_NUM_THREADS where it is set, else every core this process may use"""

    @property
    def num_threads(self) -> int | None:
        """The number asked for; None for `auto`."""
        return None if self.threads == "auto" else self.threads


@dataclass(frozen=True)
class Runtime:
    """Resolved runtime of one process."""

    device: str
    precision: Literal["fp32", "bf16", "fp16"]
    threads: int

    def autocast(self) -> torch.autocast:
        """The autocast context of this precision (disabled for fp32)."""
        import torch

        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision, torch.bfloat16)
        return torch.autocast(self.device, dtype=dtype, enabled=self.precision != "fp32")


def available_threads() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_environment(threads: int | None = None) -> None:
    """Set what must be set before `import torch`.

    OpenMP's default is to spin at barriers, which costs a factor of ten or more whenever anything else runs on the
    machine; sleeping costs about 20 % on a quiet one. Values the user has set are kept, but for `threads` given here.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(available_threads()))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")


def settle_runtime(settings: RuntimeSettings, cache: Path) -> Runtime:
    """The runtime that `start_runtime` gives, without importing torch where `cache` knows this machine.

    For processes that may find nothing to compute; it sets the environment for a later `import torch`.
    """
    prepare_environment(settings.num_threads)
    threads = int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    if settings.device == "cpu" and settings.precision != "auto":
        return Runtime("cpu", settings.precision, threads)
    machine = "|".join((*_machine(), settings.device, settings.precision))
    known: dict[str, Any] = {}
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known.clear()
    if known.get("machine") != machine:
        runtime = start_runtime(settings)
        known = {"machine": machine, "device": runtime.device, "precision": runtime.precision}
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f".{cache.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(cache)
    return Runtime(known["device"], known["precision"], threads)


def _machine() -> tuple[str, ...]:
    driver = Path("/proc/driver/nvidia/version")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    return platform.node(), sys.executable, version("torch"), driver.read_text() if driver.is_file() else "", visible


def start_runtime(settings: RuntimeSettings | None = None) -> Runtime:
    """Import torch with the right environment and settle device, precision and threads."""
    settings = settings or RuntimeSettings()
    prepare_environment(settings.num_threads)
    import torch

    threads = settings.num_threads or int(os.environ["OMP_NUM_THREADS"].split(",")[0])
    torch.set_num_threads(threads)
    device = settings.device
    is_there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "auto": True}
    if not is_there[device]:
        raise RecipeError(f"runtime.device: this machine, or this build of torch, has no {device}; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    return Runtime(device, precision, threads)


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 is worth its lost digits: on GPUs that multiply it in hardware.

    CPUs with AVX-512 BF16 gain a factor of 1.0 at width 128 and 1.4 at width 256 (docs/log.md), and a run would then
    depend on the machine's generation; there it has to be asked for.
    """
    import torch

    return device == "cuda" and torch.cuda.get_device_capability()[0] >= 8
