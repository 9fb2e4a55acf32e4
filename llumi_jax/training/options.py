"""How a run is watched. Nothing here changes what it computes, so none of it belongs into a config."""

import dataclasses
import re

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
