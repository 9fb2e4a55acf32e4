"""The dataset contract, on the shipped sample and on a builder that this project does not know."""

import sys

import pytest

from llumi_jax.cli import UserError
from llumi_jax.data import dataset
from llumi_jax.data.dataset import Pair

SAMPLE = "data_pipelines.llumi_pairs:LlumiPairs/sample_{}"

BUILDER = """
import numpy as np
import tensorflow_datasets as tfds

POST = ["thread_id", "task", "community", "title", "body", "draft", "source"]

def row(kind, id_, thread, task="gm", **values):
    post = dict(thread_id=thread, task=task, community="c", title="T " + thread, body="Grüße", draft="", source="votes")
    return {**post, kind: id_, "weight": 1.0, **values}

PAIRS = [
    row("pair_id", "p3", "b", chosen="good", rejected="bad", probability=0.5),
    row("pair_id", "p2", "a", chosen="best", rejected="good", probability=0.75, weight=0.5),
    row("pair_id", "p1", "a", chosen="good", rejected="bad", probability=1.0),
    row("pair_id", "p4", "a2", task="im", chosen="good", rejected="bad", probability=1.0),
]
REPLIES = [row("reply_id", "r1", "a", reply="good"), row("reply_id", "r0", "a", reply="ok", weight=0.25)]

class Other(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=n) for n in ("some_pairs", "some_replies", "bare_pairs")]

    def _info(self):
        text, number = tfds.features.Text(), tfds.features.Scalar(np.float32)
        names = {"some_pairs": ["pair_id", "chosen", "rejected"], "some_replies": ["reply_id", "reply"]}
        names = POST + names.get(self.builder_config.name, ["pair_id", "chosen"])
        numbers = ["weight", "probability"] if self.builder_config.name != "some_replies" else ["weight"]
        features = {name: text for name in names} | {name: number for name in numbers}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i, example in enumerate(REPLIES if self.builder_config.name == "some_replies" else PAIRS):
            yield i, {name: example[name] for name in self.info.features}

NOT_A_BUILDER = 1
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A builder in a module of its own; gives the start of its specs."""
    folder = tmp_path_factory.mktemp("modules")
    package = folder / "somebodys_data"
    package.mkdir()
    (package / "__init__.py").write_text(BUILDER, encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield "somebodys_data:Other"
    sys.path.remove(str(folder))


def test_rows_of_one_post_are_one_thread_with_each_reply_once(other, data_dir):
    a, b = dataset.read_threads(f"{other}/some_pairs", "train", "gm", data_dir, "pairs")
    assert (a.thread_id, a.title, a.body, a.draft, a.community) == ("a", "T a", "Grüße", "", "c")
    assert a.replies == ["good", "bad", "best"] and a.reply_weights == [0.0, 0.0, 0.0]
    assert a.pairs == [Pair("p1", 0, 1, 1.0, 1.0), Pair("p2", 2, 0, 0.75, 0.5)]
    assert b.thread_id == "b" and b.pairs == [Pair("p3", 0, 1, 0.5, 1.0)]


def test_replies_carry_their_weight(other, data_dir):
    (thread,) = dataset.read_threads(f"{other}/some_replies", "train", "gm", data_dir, "replies")
    assert (thread.replies, thread.reply_weights, thread.pairs) == (["ok", "good"], [0.25, 1.0], [])


def test_tasks_are_kept_apart(other, data_dir):
    (thread,) = dataset.read_threads(f"{other}/some_pairs", "train", "im", data_dir, "pairs")
    assert thread.thread_id == "a2"


def test_a_missing_split_has_no_threads(other, data_dir):
    assert dataset.read_threads(f"{other}/some_pairs", "test_later", "gm", data_dir, "pairs") == []


def test_several_datasets_are_joined(other, data_dir):
    both = f"{other}/some_pairs, {SAMPLE.format('pairs')}"
    joined = dataset.read_threads(both, "train", "gm", data_dir, "pairs")
    alone = dataset.read_threads(SAMPLE.format("pairs"), "train", "gm", data_dir, "pairs")
    assert {t.thread_id for t in joined} == {t.thread_id for t in alone} | {"a", "b"}


@pytest.mark.parametrize("task", ["gm", "im"])
def test_the_sample_reads_as_its_builder_wrote_it(data_dir, task):
    import tensorflow_datasets as tfds

    threads = dataset.read_threads(SAMPLE.format("pairs"), "train", task, data_dir, "pairs")
    (folder,) = (data_dir / "llumi_pairs" / "sample_pairs").iterdir()
    builder = tfds.builder_from_directory(folder)
    rows = [
        tuple(r[n].decode() for n in ("thread_id", "pair_id", "body", "draft", "chosen", "rejected"))
        for r in tfds.as_numpy(builder.as_dataset(split="train"))
        if r["task"].decode() == task
    ]
    read = [
        (t.thread_id, p.pair_id, t.body, t.draft, t.replies[p.chosen], t.replies[p.rejected])
        for t in threads
        for p in t.pairs
    ]
    assert read and sorted(read) == sorted(rows)
    assert [t.thread_id for t in threads] == sorted({t.thread_id for t in threads})
    assert all(bool(t.draft) == (task == "im") for t in threads)


def test_a_second_read_prepares_nothing(other, data_dir, monkeypatch):
    dataset.read_threads(f"{other}/some_pairs", "train", "gm", data_dir, "pairs")
    module = sys.modules["somebodys_data"]
    monkeypatch.setattr(module.Other, "_generate_examples", lambda self: pytest.fail("already prepared"))
    assert len(dataset.read_threads(f"{other}/some_pairs", "train", "gm", data_dir, "pairs")) == 2


def test_the_newest_whole_version_is_read(other, tmp_path):
    dataset.open_builder(f"{other}/some_pairs", tmp_path)
    folder = tmp_path / "other" / "some_pairs"
    info = (folder / "1.0.0" / "dataset_info.json").read_text()
    for version in ("1.9.0", "1.10.0", "1.10.0.incompleteAB"):
        (folder / version).mkdir()
        (folder / version / "dataset_info.json").write_text(info.replace("1.0.0", version))
        (folder / version / "features.json").write_text((folder / "1.0.0" / "features.json").read_text())
    assert str(dataset.open_builder(f"{other}/some_pairs", tmp_path).version) == "1.10.0"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_colon", "not of the form package.module:Builder/config"),
        ("module:NoConfig", "not of the form"),
        (":Builder/config", "not of the form"),
        ("nowhere.at_all:Builder/config", "no module named 'nowhere'.*Run from the project's folder"),
        ("{other}s/some_pairs", "has no Others. Did you mean 'Other'"),
        ("somebodys_data:NOT_A_BUILDER/x", "NOT_A_BUILDER is no TFDS builder"),
        ("{other}/some_pair", "no dataset 'some_pair' below .* Did you mean 'some_pairs'"),
    ],
)
def test_a_spec_that_leads_nowhere_says_why(other, data_dir, spec, message):
    with pytest.raises(UserError, match=message):
        dataset.open_builder(spec.format(other=other), data_dir)


@pytest.mark.parametrize(
    ("config", "kind", "feature"),
    [("bare_pairs", "pairs", "rejected"), ("some_replies", "pairs", "pair_id"), ("some_pairs", "replies", "reply_id")],
)
def test_a_missing_feature_is_named(other, data_dir, config, kind, feature):
    with pytest.raises(UserError, match=f"has no feature '{feature}', which {kind} need"):
        dataset.read_threads(f"{other}/{config}", "train", "gm", data_dir, kind)


def test_specs_of_one_dataset_several_and_a_mixture():
    assert dataset.mixture("a:B/c") == [("a:B/c", 1.0)] and dataset.names("a:B/c, d:E/f") == ["a:B/c", "d:E/f"]
    spec = [["a:B/c,d:E/f", 3], ("g:H/i", 0.5)]
    assert dataset.mixture(spec) == [("a:B/c,d:E/f", 3.0), ("g:H/i", 0.5)]
    assert dataset.names(spec) == ["a:B/c", "d:E/f", "g:H/i"]
    assert dataset.in_words(spec) == "a:B/c,d:E/f (3), g:H/i (0.5)" and dataset.in_words("a:B/c") == "a:B/c"


@pytest.mark.parametrize(
    "spec", [(), 3, {"a:B/c": 1}, ["a:B/c"], [("a:B/c", 0)], [("a:B/c", True)], [("a:B/c", float("nan"))], [(1, 1.0)]]
)
def test_specs_that_are_none(spec):
    with pytest.raises(UserError, match="give 'package.module:Builder/config', or a mixture"):
        dataset.mixture(spec)
