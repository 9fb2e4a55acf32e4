"""The warning that stands wherever a model too small to be of use to anyone in need speaks."""

TEXT = "Demonstration model: do not use with people in distress"
BELOW = 1_000_000_000  # parameters


def for_parameters(count: int) -> str | None:
    """The banner of a model of `count` parameters, adapters left out; None for one that needs none."""
    return TEXT if count < BELOW else None
