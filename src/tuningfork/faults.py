"""Faults of the machine as messages for its user: a full disk, too little memory, a folder that cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

from tuningfork.errors import RunError

_FULL_CODES = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("no space left on device", "os error 28", "disk quota exceeded")
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOLCK, errno.ENAMETOOLONG)


def as_user_error(error: BaseException, folder: Path) -> RunError | None:
    """The short message for a fault of the machine, whichever library met it; None for anything else.

    Libraries wrap a full disk in errors of their own (safetensors in a SafetensorError), so causes and words count too.
    """
    seen: BaseException | None = error
    while seen is not None:
        code = seen.errno if isinstance(seen, OSError) else None
        if code in _FULL_CODES or any(words in str(seen).lower() for words in _FULL_WORDS):
            return RunError(
                f"no space left on the disk of {folder}; free some and give the same command again: it resumes"
            )
        if code in _NOT_WRITABLE and isinstance(seen, OSError):
            return RunError(f"{seen.filename or folder}: {seen.strerror}")
        if isinstance(seen, MemoryError) or type(seen).__name__ == "OutOfMemoryError":
            first = str(seen).splitlines()[0] if str(seen) else "the process got no more"
            return RunError(f"out of memory ({first}); lower micro_batch, and the same command resumes")
        seen = seen.__cause__ or seen.__context__
    return None
