import os
import subprocess
import sys
from pathlib import Path

import pytest
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


def test_tfds_build(tmp_path):
    """The command of TFDS itself, which imports Beam whatever it builds."""
    pytest.importorskip("apache_beam")
    root = Path(__file__).parents[3]
    command = [
        str(Path(sys.executable).with_name("tfds")),
        "build",
        "data_pipelines/llumi_pairs",
        "--data_dir",
        tmp_path,
    ]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for kind in ("pairs", "replies"):
        (folder,) = (tmp_path / "llumi_pairs" / f"sample_{kind}").iterdir()
        splits = tfds.builder_from_directory(folder).info.splits
        assert {name: split.num_examples for name, split in splits.items()} == expected(kind)
