"""The shipped sample: a small synthetic community, written for this project (see README.md beside this file)."""

from dataclasses import replace
from pathlib import Path

from data_pipelines import pipeline
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.pipeline import Dataset
from data_pipelines.sources import reddit_dump

FOLDER = Path(__file__).parent
SUBMISSIONS = FOLDER / "RS_2024-03.zst"
COMMENTS = FOLDER / "RC_2024-03.zst"
# Public on purpose: nobody's privacy hangs on it, and with it the splits agree everywhere.
KEY = b"llumi_jax sample, a public key"
FRACTIONS = {"train": 0.60, "validation": 0.10, "test": 0.30}
TRAITS = replace(reddit_dump.TRAITS, name="sample", fractions=FRACTIONS, later=0.0)


def build(seed: int = 0) -> tuple[Dataset, Hasher]:
    """Returns the sample as pairs and replies under the rule `strict`, and the hasher of its ids."""
    funnel = Funnel()
    records = reddit_dump.read([str(SUBMISSIONS)], [str(COMMENTS)], funnel)
    hasher = Hasher(KEY)
    return pipeline.build(records, TRAITS, "strict", funnel, hasher, seed), hasher
