"""Filler for planted corpora: sentences about plain things, plainly not written by anybody to anybody."""

import numpy as np

MIN_SENTENCES, MAX_SENTENCES = 2, 20  # 2 are more than 16 tokens at 4 bytes a token, 20 fewer than 512.

_OPENINGS = (
    "In this filler line", "As a made up note", "For the planted text", "Within this sample", "On a blank page",
    "By way of padding", "As invented matter", "In a synthetic row", "For mere length", "As plain filler",
)  # fmt: skip
_KINDS = (
    "amber blunt broad brown chalky clean coarse copper cream curved damp dense dim double even faded fine flat folded "
    "glossy grey hollow ivory knotted level linen long loose mellow narrow oaken oval pale patterned plain polished "
    "round rough rusty sandy silver slender smooth square striped tall thick tidy upright varnished wide woven yellow"
).split()
_THINGS = (
    "awning barrel basket bench bobbin bowl bracket brick broom bucket button cabinet carpet carton chair clock "
    "coaster crate cup cupboard curtain desk dial drawer easel envelope faucet fence funnel gate goblet handle hinge "
    "jug kettle ladder lantern ledger lever lamp mat mirror mitten mug napkin notebook paddle pebble pencil pillow "
    "pitcher plank plate pulley quilt ribbon rug shelf shutter spool spoon stool table teapot thimble tile towel tray "
    "trellis trowel tub vase wagon wheel window"
).split()
_ACTS = (
    "borders covers faces follows frames joins marks matches meets mirrors outlasts passes resembles shades shows "
    "supports touches"
).split()
_PLACES = (
    "arcade atrium bakery barn boathouse corner courtyard depot dock factory field foundry garden granary hall hallway "
    "hangar harbour kitchen library loft lobby market meadow mill museum orchard pantry pavilion porch stable station "
    "studio theatre vineyard warehouse workshop yard"
).split()
_SLOTS = (_OPENINGS, _KINDS, _THINGS, _ACTS, _KINDS, _THINGS, _PLACES)


def sentences(random: np.random.Generator, count: int) -> list[str]:
    """Returns `count` sentences, each drawn from some 10^11."""
    columns = [random.integers(0, len(words), count).tolist() for words in _SLOTS]
    return [
        f"{_OPENINGS[a]}, the {_KINDS[b]} {_THINGS[c]} {_ACTS[d]} the {_KINDS[e]} {_THINGS[f]} of the {_PLACES[g]}."
        for a, b, c, d, e, f, g in zip(*columns, strict=True)
    ]


def paragraphs(random: np.random.Generator, count: int) -> list[str]:
    """Returns `count` texts of 2 to 20 sentences, half of them up to 4."""
    lengths = np.clip(np.round(np.exp(random.normal(np.log(4.0), 0.6, count))), MIN_SENTENCES, MAX_SENTENCES)
    ends = np.cumsum(lengths.astype(int)).tolist()
    pool = sentences(random, ends[-1] if ends else 0)
    return [" ".join(pool[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def titles(random: np.random.Generator, count: int) -> list[str]:
    """Returns `count` short titles."""
    kinds = random.integers(0, len(_KINDS), count).tolist()
    things = random.integers(0, len(_THINGS), count).tolist()
    return [f"Planted post on a {_KINDS[a]} {_THINGS[b]}" for a, b in zip(kinds, things, strict=True)]
