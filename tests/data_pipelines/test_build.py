"""The command from files to a dataset on disk, and every mistake it has an answer to."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import corpus
import pytest
import zstandard
from test_pipeline import strong_threads

from data_pipelines import build, show, storage
from llumi_jax.cli import UserError

ROOT = Path(__file__).parents[2]
SECRETS = ("poster_p", "replier_a", "replier_b", "replier_c", "replier_d", "t3_", "created_utc")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    posts, comments = strong_threads(60)
    key = folder / "key"
    key.write_bytes(b"0123456789abcdef0123456789abcdef")
    paths = corpus.write(folder / "RS", posts), corpus.write(folder / "RC", comments)
    return ["--source", "reddit_dump", "--submissions", paths[0], "--comments", paths[1], "--key_file", str(key)]


@pytest.fixture(scope="module")
def data(rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "data"
    build.main([*rows, "--out", str(out)])
    return out


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_dataset_is_read_back_without_our_code(data):
    tfds = storage.quiet_tfds()
    card = json.loads((data / "card.json").read_text())
    for kind in ("pairs", "replies"):
        folder = data / "llumi_pairs" / f"reddit_dump_strict_{kind}"
        builder = tfds.builder_from_directory(next(folder.iterdir()))
        count = sum(split.num_examples for split in builder.info.splits.values())
        assert count == (sum(card["pairs"].values()) if kind == "pairs" else card["replies"])
        assert builder.info.metadata["kind"] == kind
        assert builder.info.metadata["funnel"] == card["funnel"]
        assert len(builder.info.metadata["fingerprint"]) == 64
    assert sum(card["funnel"].values()) == card["input"] == 300
    assert card["pairs"]["gm"] > 40


def test_same_input_gives_the_same_bytes(rows, data, tmp_path):
    build.main([*rows, "--out", str(tmp_path / "again")])
    assert files(tmp_path / "again") == files(data)
    build.main([*rows, "--out", str(tmp_path / "again")])
    assert files(tmp_path / "again") == files(data)


def test_no_author_or_raw_id_in_any_file(data):
    for path in data.rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            assert not [secret for secret in SECRETS if secret.encode() in text], path


def test_a_second_dataset_needs_a_name(rows, data, tmp_path):
    build.main([*rows, "--out", str(tmp_path)])
    with pytest.raises(UserError, match="already holds the dataset reddit_dump_strict.*--dataset NAME"):
        build.main([*rows, "--rule", "paper", "--out", str(tmp_path)])
    build.main([*rows, "--rule", "paper", "--dataset", "second", "--out", str(tmp_path)])
    assert storage.datasets(tmp_path) == ["reddit_dump_strict", "second"]
    assert storage.read_card(tmp_path, "second")["rule"] == "paper"
    with pytest.raises(UserError, match="say which with --dataset NAME"):
        show.main([str(tmp_path)])


def test_show(data, capsys):
    show.main([str(data), "--pairs", "1"])
    shown = capsys.readouterr().out
    assert "300 rows read" in shown and "chosen" in shown and "probability" in shown


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--source", "reddit_dum"], "unknown source.*Did you mean 'reddit_dump'"),
        (["--source", "counselchat", "--input", "none.csv"], "none.csv does not exist"),
        (["--source", "counselchat", "--input", "."], "is a folder"),
        (["--source", "counselchat"], "needs --input"),
        (["--source", "counselchat", "--submissions", "x"], "needs --input"),
        (["--source", "reddit_dump", "--submissions", "x"], "needs --comments"),
        (["--source", "counselchat", "--input", __file__, "--rule", "stric"], "unknown rule.*Did you mean 'strict'"),
        (["--source", "counselchat", "--input", __file__, "--rule", "exposure"], "rule 'exposure'"),
        (["--source", "counselchat", "--input", __file__, "--dataset", "Not this"], "lower-case letters"),
        (["--source", "counselchat", "--input", __file__], "'question_id' is missing: its first line is no header"),
        (["--source", "counselchat", "--inptu", "x"], "unknown argument '--inptu'.*Did you mean '--input'"),
    ],
)
def test_mistakes(argv, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build.main([*argv, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_no_pairs(tmp_path):
    posts, comments = strong_threads(5)
    paths = corpus.write(tmp_path / "RS", posts), corpus.write(tmp_path / "RC", comments[::4])
    with pytest.raises(UserError, match="no pairs: of 10 rows 0 are of use .post_without_preference 5"):
        build.main(
            ["--source", "reddit_dump", "--submissions", paths[0], "--comments", paths[1], "--out", str(tmp_path / "o")]
        )


def test_a_full_disk_leaves_no_half_dataset(rows, data, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    build.main([*rows, "--out", str(tmp_path)])
    before = files(tmp_path)
    monkeypatch.setattr("data_pipelines.export.fingerprint", full)
    with pytest.raises(OSError, match="No space left"):
        build.main([*rows, "--out", str(tmp_path), "--seed", "5"])
    assert files(tmp_path) == before


class Killed(BaseException):
    """Ends a build where it stands; unlike kill -9 it cannot keep the temporary folder from being removed."""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_build_killed_while_it_replaces_loses_nothing(data, tmp_path, monkeypatch, step):
    out, building = tmp_path / "out", tmp_path / "building"
    shutil.copytree(data, out)
    shutil.copytree(data / "llumi_pairs", building / "llumi_pairs")
    for path in building.rglob("*.json"):
        path.write_text("new")
    before, steps, replace = files(out), [], os.replace

    def killed(source, target):
        steps.append(source)
        if len(steps) > step:
            raise Killed
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(storage.os, "replace", killed)
        storage._replace("reddit_dump_strict", building, out)
    storage._roll_back("reddit_dump_strict", out)
    assert files(out) == before
    assert not list(out.glob(".*"))


def test_folders_of_killed_builds_are_swept(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    hour_ago = time.time() - 3700
    for name in (
        f".building-{storage._host()}-{done.pid}-gone",
        f".building-{storage._host()}-{os.getpid()}-mine",
        f".building-elsewhere-{done.pid}-busy",
        f".building-elsewhere-{done.pid}-left",
        ".building-older",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text("what a person wrote")
        if name.endswith(("left", "older")):
            os.utime(tmp_path / name / "text", (hour_ago, hour_ago))
            os.utime(tmp_path / name, (hour_ago, hour_ago))
    storage._sweep(tmp_path)
    assert {path.name.rsplit("-")[-1] for path in tmp_path.iterdir()} == {"mine", "busy"}


def command(*argv: str, module: str = "data_pipelines.build") -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", module, *argv], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_a_truncated_dump_ends_the_command_with_one_line(rows, tmp_path):
    whole = zstandard.ZstdCompressor().compress(Path(rows[5]).read_bytes() * 40)
    (tmp_path / "RC.zst").write_bytes(whole[: len(whole) // 2])
    done = command(
        "--source",
        "reddit_dump",
        "--submissions",
        rows[3],
        "--comments",
        str(tmp_path / "RC.zst"),
        "--out",
        str(tmp_path / "o"),
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "RC.zst is cut short" in done.stderr and "whole lines were read" in done.stderr


@pytest.mark.parametrize("module", ["data_pipelines.build", "data_pipelines.show"])
def test_help_loads_nothing_heavy(module):
    code = (
        "import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try:\n    runpy.run_module('{module}', run_name='__main__')\n"
        "finally:\n    print([m for m in ('tensorflow', 'jax', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.strip().endswith("[]")
