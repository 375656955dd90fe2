"""Exception types of the package; nothing else.

Every error that a user can cause is a `DnamdlmError`. Its message is one sentence that says what
was found, what is allowed and what to do. The command line prints it without a traceback.
"""


class DnamdlmError(ValueError):
    """Root of all errors that a user can cause.

    Attributes:
        exit_code: what a command that it ends returns to the shell.
    """

    exit_code: int = 2


class ConfigError(DnamdlmError):
    """A setting is unknown, of the wrong type, out of range or in conflict with another."""


class DataError(DnamdlmError):
    """An input file or table cannot be used as it is."""


class ReaderLeft(DataError):
    """What reads the output of a command, such as `head`, has ended before it had everything."""

    exit_code = 141


class CheckpointError(DnamdlmError):
    """A checkpoint is missing, damaged or does not belong to this run or model."""


class KernelUnavailable(DnamdlmError):
    """A fused kernel was demanded and cannot run here; the import error is its cause."""


class OutOfMemory(DnamdlmError):
    """The memory of this machine or device does not suffice for what was asked for."""


_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "alloc_cpu",
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, NumPy or PyTorch means that memory did not suffice."""
    if isinstance(error, MemoryError):
        return True
    is_told_in_words = isinstance(error, RuntimeError | OSError)
    return is_told_in_words and any(words in str(error) for words in _OUT_OF_MEMORY)


class WorkerLost(DnamdlmError):
    """A worker process ended before its work was done, such as one that was killed."""

    exit_code = 1
