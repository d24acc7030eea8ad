"""Every error a user can meet, in one small tree.

TuningforkError                 exit code 2: a mistake with one short message (what, where, what to do)
├── RecipeError                 a recipe, a setting or an override is wrong
├── DataError                   a data file is missing, unreadable, empty or of the wrong shape
├── ModelError                  a model or tokenizer cannot be loaded or used as asked
├── RunError                    a run folder or the store cannot be used (lock, other recipe, full disk)
├── GateFailed                  exit code 3: a stage finished, its acceptance check failed
└── Interrupted                 exit code 130: stopped by Ctrl-C or SIGTERM; the run resumes

Our own mistakes are assertions with a traceback, never one of these.
"""


class TuningforkError(Exception):
    """A user's mistake: one short message that says what, where and what to do."""

    exit_code = 2


class RecipeError(TuningforkError, ValueError):
    """A recipe, a setting or an override is wrong."""


class DataError(TuningforkError, ValueError):
    """A data file is missing, unreadable, empty or of the wrong shape."""


class ModelError(TuningforkError, ValueError):
    """A model or tokenizer cannot be loaded or used as asked."""


class RunError(TuningforkError, OSError):
    """A run folder or the store cannot be used."""


class GateFailed(TuningforkError):
    """A stage finished but its acceptance check failed; the run stops here with the cause."""

    exit_code = 3


class Interrupted(TuningforkError):
    """Stopped by Ctrl-C or SIGTERM after a checkpoint was written; the same command resumes."""

    exit_code = 130
