"""The TFDS dataset: preference pairs and replies to imitate."""

from data_pipelines.llumi_pairs.llumi_pairs import LlumiConfig, LlumiPairs

__all__ = ["LlumiConfig", "LlumiPairs"]
