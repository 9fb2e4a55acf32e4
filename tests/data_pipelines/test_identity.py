import os
import stat

import pytest

from data_pipelines import identity
from data_pipelines.identity import Hasher
from llumi_jax.cli import UserError


def test_ids_depend_on_key_kind_and_every_part():
    hasher = Hasher(b"one key")
    ids = {
        hasher.id("pair", "a", "b"),
        hasher.id("pair", "ab"),
        hasher.id("thread", "a", "b"),
        Hasher(b"x").id("pair", "a", "b"),
    }
    assert len(ids) == 4
    assert hasher.id("pair", "a", "b") == Hasher(b"one key").id("pair", "a", "b")


def test_uniform_is_uniform():
    points = [Hasher(b"k").uniform("split", str(i)) for i in range(4000)]
    assert all(0 <= point < 1 for point in points)
    assert sum(point < 0.3 for point in points) == pytest.approx(1200, abs=100)


def test_a_key_is_made_once_private_and_used_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    key, path, new = identity.load_key(None, tmp_path / "out")
    again, same_path, again_new = identity.load_key(None, tmp_path / "out")
    assert (key, path) == (again, same_path)
    assert new and not again_new
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_key_files_that_will_not_do(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "key").write_bytes(b"k" * 32)
    (tmp_path / "short").write_bytes(b"abc")
    for name, message in (("out/key", "inside --out"), ("short", "at least 16 bytes"), ("none", "no such file")):
        with pytest.raises(UserError, match=message):
            identity.load_key(str(tmp_path / name), out)
