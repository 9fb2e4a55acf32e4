import tensorflow_datasets as tfds

from data_pipelines.llumi_pairs import LlumiPairs, sample
from data_pipelines.records import SPLITS


def expected(kind: str) -> dict[str, int]:
    dataset, _ = sample.build()
    return {split: len(rows) for split in SPLITS if (rows := getattr(dataset, kind)[split])}


class _LlumiPairsCase(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks; the sample beside the builder is its input, so there is nothing to download."""

    DATASET_CLASS = LlumiPairs
    SKIP_CHECKSUMS = True

    def test_session(self, *args, **kwargs):
        return super().test_session(*args, **kwargs)

    test_session.__test__ = False  # TensorFlow's helper of that name: a runner would count it as a skipped test.

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = str(sample.FOLDER)
        super().setUpClass()


class SamplePairsTest(_LlumiPairsCase):
    BUILDER_CONFIG_NAMES_TO_TEST = ["sample_pairs"]
    SPLITS = expected("pairs")


class SampleRepliesTest(_LlumiPairsCase):
    BUILDER_CONFIG_NAMES_TO_TEST = ["sample_replies"]
    SPLITS = expected("replies")


del _LlumiPairsCase
