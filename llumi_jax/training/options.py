"""How a run is watched. Nothing here changes what it computes, so none of it belongs into a config."""

import dataclasses
import math
import re
from typing import NamedTuple

from llumi_jax.cli import UserError

HANG_SECONDS = 1800.0
OVERFIT_STEPS = 60


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of the train command.

    Attributes:
      profile_steps: first and last step of each stage that the profiler looks at.
      hang_seconds: after so long without a step, the stacks of all threads are printed; 0 = never.
      layer_norms: log norms of gradients, updates and weights for every layer.
    """

    profile_steps: tuple[int, int] | None = None
    hang_seconds: float = HANG_SECONDS
    layer_norms: bool = False


class Term(NamedTuple):
    """When this start began, by `time.monotonic()`, and in how many seconds from then it must have ended."""

    began: float
    limit: float = math.inf

    @property
    def end(self) -> float | None:
        return self.began + self.limit if self.limit < math.inf else None


def parse_duration(text: str) -> float:
    """Reads "3h30m", "90m", "1d2h", "45s", or SLURM's "HH:MM:SS" and "D-HH:MM:SS"; returns seconds.

    Raises:
      UserError: it is none of them, or no time at all.
    """
    given = text.strip()
    letters = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", given)
    found = letters or re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", given)
    numbers = [int(number or 0) for number in found.groups()] if found else []
    seconds = sum(number * size for number, size in zip(numbers, (86400, 3600, 60, 1), strict=False))
    if not seconds:
        raise UserError(f"--time_limit {text}: give a time such as 3h30m, 90m, or 1-12:00:00.")
    return float(seconds)


def parse_steps(text: str) -> tuple[int, int]:
    """Reads "A:B" or "A", steps counted from 1, both ends included.

    Raises:
      UserError: it is neither, or B comes before A.
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text.strip())
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise UserError(f"--profile_steps {text}: give the first and the last step, counted from 1, such as 10:12.")
    return first, last
