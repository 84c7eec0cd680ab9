"""Name everything that can go wrong, in one tree.

```
ScalemodelError                what every caller may catch
├── InputError                 the user's input is wrong; the command exits with 1
│   ├── UnknownNameError       a name that nothing carries (tells the nearest valid one)
│   ├── UnitError              a quantity with a missing, wrong or unknown unit
│   └── FileError              a file that cannot be used (tells the file and the key or row)
├── ProgramError               a plan's program is wrong; the engine found it
│   ├── DeadlockError          ranks wait for what nobody will send
│   ├── CollectiveMismatchError  ranks call different collectives at one place
│   ├── BufferRaceError        a buffer is written while a started action uses it
│   └── UnreceivedMessageError a message that nobody receives
├── RankFailedError            a process of a measured run failed; names the rank and the cause
├── DoesNotFitError            more memory (flash, ranks ...) is needed than there is; exits with 2
└── BoundError                 an asserted bound does not hold; exits with 3
```
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ScalemodelError(Exception):
    """Be the root of all errors that this project raises on purpose."""

    exit_code = 1


class InputError(ScalemodelError, ValueError):
    """Say that the user's input is wrong: what, got, where, and what would be right."""


MOST_SHOWN = 24
"""How many known names an error lists."""

MOST_NEAR = 3
"""How many names an error proposes that contain the wanted one."""


class UnknownNameError(InputError, KeyError):
    """Say that no thing of this kind has this name, and which name is nearest.

    >>> print(UnknownNameError("device", "h100", ["nvidia-h100", "raspberry-pi-4"]))
    unknown device 'h100'; did you mean 'nvidia-h100'?
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        self.kind, self.name, self.known = kind, str(name), sorted(known)
        self.where = where
        place = f" in {where}" if where else ""
        super().__init__(f"unknown {kind} '{name}'{place}; {self._hint()}")

    def _hint(self) -> str:
        near = alike(self.name, self.known)
        if near:
            *others, last = (f"'{name}'" for name in near)
            return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
        shown = ", ".join(self.known[:MOST_SHOWN]) or "none"
        left = len(self.known) - MOST_SHOWN
        return f"known: {shown} and {left} more" if left > 0 else f"known: {shown}"

    def __str__(self) -> str:
        """Return the message itself (a KeyError would quote it)."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        return (UnknownNameError, (self.kind, self.name, self.known, self.where))


class UnitError(InputError):
    """Say that a quantity has a missing, wrong or unknown unit."""


class FileError(InputError):
    """Say which file cannot be used, at which key or row, and why."""

    def __init__(self, path: object, problem: str, key: str = "") -> None:
        self.path, self.problem, self.key = str(path), problem, key
        place = f"{path}: {key}" if key else f"{path}"
        super().__init__(f"{place}: {problem}")

    def __reduce__(self) -> tuple[object, ...]:
        return (FileError, (self.path, self.problem, self.key))


class ProgramError(ScalemodelError):
    """Say that a plan's program is wrong, as the engine found by running it."""


class DeadlockError(ProgramError):
    """Say which ranks wait for what will never come."""


class CollectiveMismatchError(ProgramError):
    """Say which ranks called different collectives where all must call the same."""


class BufferRaceError(ProgramError):
    """Say which buffer is written while a started action still uses it."""


class UnreceivedMessageError(ProgramError):
    """Say which message was sent and never received."""


class RankFailedError(ScalemodelError):
    """Say which process of a measured run failed first, and how.

    >>> print(RankFailedError(3, "was killed by SIGKILL"))
    rank 3 was killed by SIGKILL
    """

    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how
        super().__init__(f"rank {rank} {how}")

    def __reduce__(self) -> tuple[object, ...]:
        return (RankFailedError, (self.rank, self.how))


class DoesNotFitError(ScalemodelError):
    """Say what needs more memory, flash or devices than there are, and what would be right.

    >>> print(DoesNotFitError("needs 2 MB, has 1 MB", "use a smaller batch"))
    needs 2 MB, has 1 MB; use a smaller batch
    """

    exit_code = 2

    def __init__(self, problem: str, advice: str = "") -> None:
        self.problem, self.advice = problem, advice
        super().__init__(f"{problem}; {advice}" if advice else problem)

    def __reduce__(self) -> tuple[object, ...]:
        return (DoesNotFitError, (self.problem, self.advice))


class BoundError(ScalemodelError):
    """Say which asserted bound a prediction breaks."""

    exit_code = 3


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, or None where none is alike.

    A name that contains the wanted one is preferred over one that is spelled alike.

    >>> nearest("resnet5", ["resnet50", "vgg16"])
    'resnet50'
    """
    return next(iter(alike(name, known)), None)


def alike(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that a wrong one may stand for, the nearest first.

    Names that contain all its words, else all its words with a digit, else the first such word,
    else one name that is spelled alike.

    >>> alike("h100 card", ["nvidia-h100-sxm-80gb", "nvidia-h100-pcie-80gb", "nvidia-t4"])
    ['nvidia-h100-sxm-80gb', 'nvidia-h100-pcie-80gb']
    """
    lowered = {candidate.lower(): candidate for candidate in known}
    words = re.findall(r"[^\W_]+", name.lower())
    models = [word for word in words if re.search(r"\d", word) and word[1:]]
    for needed in (words, models, models[:1]):
        found = [low for low in lowered if needed and all(word in low for word in needed)]
        if found:
            return [lowered[low] for low in sorted(found, key=len)[:MOST_NEAR]]
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.55)
    return [lowered[low] for low in close]
