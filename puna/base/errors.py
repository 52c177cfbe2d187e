"""The exception tree.

PunaError
├── InputError            bad input; the command line prints one line and exits 2
│   ├── ConfigError       a recipe or setting that is unknown, of the wrong type or out of range
│   ├── DataError         a user's data that cannot be used (missing file, empty crawl, no item)
│   ├── ArtifactError     an artifact that is damaged, of another format, or made with another tokenizer
│   ├── LockedError       another process writes the same run
│   └── DiskFullError     there is no room for what is asked
├── StoppedError          another program asked to end (SIGTERM), and what was done is kept; exits 143
├── RunError              the input was right and the run failed (a diverged loss); exits 1
└── MachineError          this machine or process erred, and the same command may well succeed; exits 1

A message says what was expected, what came, and what to do.
"""


class PunaError(Exception):
    """Anything Puna raises on purpose; `exit_status` is what the command line returns."""

    exit_status = 1


class InputError(PunaError):
    """Bad input: nothing was lost, and the message says what to change."""

    exit_status = 2


class ConfigError(InputError):
    """A recipe or a setting that cannot be right."""


class DataError(InputError):
    """Data of the user that cannot be used."""


class ArtifactError(InputError):
    """An artifact that is damaged or does not fit."""


class LockedError(InputError):
    """A second writer of the same run."""


class DiskFullError(InputError):
    """The disk has no room; what was finished before stays."""


class StoppedError(PunaError):
    """Asked to end by another program, such as a scheduler that wants the machine back."""

    exit_status = 143


class RunError(PunaError):
    """The input was right, the run failed."""


class MachineError(PunaError):
    """A machine or a process erred; a supervisor starts again."""
