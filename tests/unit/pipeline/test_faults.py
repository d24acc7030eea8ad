"""Faults of the machine become messages, however deep a library has wrapped them."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tuningfork.artifacts import run_folder
from tuningfork.errors import RunError
from tuningfork.faults import as_user_error
from tuningfork.recipe import load_recipe
from tuningfork.supervisor import run_recipe

HERE = Path("runs/a")


class OutOfMemoryError(RuntimeError):
    """Named as the one of torch, which is not imported here."""


def wrapped(cause: Exception) -> Exception:
    try:
        raise RuntimeError("could not save") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk of runs/a"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left on the disk of runs/a"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "no space left on the disk of runs/a"),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), "no space left on the disk of runs/a"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/a/x"), "runs/a/x: Permission denied"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"), "out of memory (CUDA out of memory. T"),
        (MemoryError(), "out of memory (the process got no more)"),
    ],
)
def test_faults_of_the_machine(error: Exception, message: str) -> None:
    found = as_user_error(error, HERE)
    assert found is not None and str(found).startswith(message) and "\n" not in str(found)


def test_our_own_faults_stay_what_they_are() -> None:
    assert as_user_error(ValueError("no"), HERE) is None
    assert as_user_error(FileNotFoundError(errno.ENOENT, "No such file", "x"), HERE) is None


def test_disk_full_in_the_supervisor_is_a_message_too(
    tmp_path: Path, write_recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder, "write_text", fail)
    with pytest.raises(RunError, match="no space left on the disk"):
        run_recipe(load_recipe(write_recipe("- steps: {}")), tmp_path / "run")
