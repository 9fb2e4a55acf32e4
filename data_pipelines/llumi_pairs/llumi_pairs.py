"""The TFDS builder `llumi_pairs`.

Configs `sample_pairs` and `sample_replies` are made from the sample beside this file, without arguments or a
network. `data_pipelines.build` makes configs `<dataset>_pairs` and `<dataset>_replies` from a user's files; these
are read back with `tfds.builder_from_directory`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines import export
from data_pipelines.identity import Hasher
from data_pipelines.pipeline import Dataset

Content = Callable[[], tuple[Dataset, Hasher]]

_DESCRIPTION = """Replies to posts that ask for support, with the votes of a community turned into preferences.
`pairs`: which of two replies (GM) or of two revisions of a draft (IM) is preferred, and how surely.
`replies`: well-voted replies to imitate. Ids are keyed hashes; there is no author."""

_PROMPT = {
    "thread_id": tfds.features.Text(doc="Same post and draft."),
    "task": tfds.features.Text(doc="gm: write a reply. im: revise a draft."),
    "community": tfds.features.Text(),
    "title": tfds.features.Text(),
    "body": tfds.features.Text(),
    "draft": tfds.features.Text(doc="Empty for gm."),
}
_FEATURES = {
    "pairs": {
        "pair_id": tfds.features.Text(),
        **_PROMPT,
        "chosen": tfds.features.Text(),
        "rejected": tfds.features.Text(),
        "probability": tfds.features.Scalar(np.float32, doc="Chance that chosen is truly preferred, .5 to 1."),
        "weight": tfds.features.Scalar(np.float32, doc="Share in the loss."),
        "score_chosen": tfds.features.Scalar(np.int32),
        "score_rejected": tfds.features.Scalar(np.int32),
        "source": tfds.features.Text(doc="Where the preference comes from."),
    },
    "replies": {
        "reply_id": tfds.features.Text(),
        **_PROMPT,
        "reply": tfds.features.Text(),
        "weight": tfds.features.Scalar(np.float32, doc="Share in the loss."),
        "source": tfds.features.Text(doc="Where the reply comes from."),
    },
}


@dataclasses.dataclass(eq=False)
class LlumiConfig(tfds.core.BuilderConfig):
    """A config of the dataset: its `kind` ("pairs" or "replies"), and a function that makes its content.

    advance: called with 1 for each example that is written.
    """

    kind: str = "pairs"
    content: Content | None = None
    advance: Callable[[int], None] = lambda written: None


def _sample() -> tuple[Dataset, Hasher]:
    from data_pipelines.llumi_pairs import sample

    return sample.build()


class LlumiPairs(tfds.core.GeneratorBasedBuilder):
    """Preference pairs and replies; see the module's text for the configs."""

    VERSION = tfds.core.Version("1.0.2")
    RELEASE_NOTES = {
        "1.0.2": "Splits anew: every post held out before is a training post now, and the other way round.",
        "1.0.1": "Sample: every well-voted reply takes up a line of hopelessness in its post.",
        "1.0.0": "First release.",
    }
    BUILDER_CONFIGS = [
        LlumiConfig(
            name=f"sample_{kind}", description=f"The shipped synthetic sample, {kind}.", kind=kind, content=_sample
        )
        for kind in export.KINDS
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(_FEATURES[self.builder_config.kind]),
            metadata=tfds.core.MetadataDict(kind=self.builder_config.kind),
            disable_shuffling=False,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        dataset, hasher = self.builder_config.content()
        # Made one by one when they are asked for: their texts are in memory once, however many rows share them.
        splits: dict[str, Callable[[], Iterator[dict[str, object]]]]
        if self.builder_config.kind == "pairs":
            splits = {name: _each(export.pair_example, rows, hasher) for name, rows in dataset.pairs.items() if rows}
        else:
            splits = {name: _each(export.reply_example, rows, hasher) for name, rows in dataset.replies.items() if rows}
        names = ("source", "rule", "rule_hash", "input", "funnel", "seed")
        self.info.metadata.update({name: dataset.card[name] for name in names})
        self.info.metadata["fingerprint"] = export.fingerprint({name: make() for name, make in splits.items()})
        return {name: self._generate_examples(make()) for name, make in splits.items()}

    def _generate_examples(self, examples: Iterable[dict[str, object]]) -> Iterator[tuple[str, dict[str, object]]]:
        name = "pair_id" if self.builder_config.kind == "pairs" else "reply_id"
        for example in examples:
            yield str(example[name]), example
            self.builder_config.advance(1)


def _each(make: Callable, rows: Sequence, hasher: Hasher) -> Callable[[], Iterator[dict[str, object]]]:
    return lambda: (make(row, hasher) for row in rows)
