"""Small files are whole or absent, whoever is killed; a folder belongs to one process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llumi_jax.cli import UserError
from llumi_jax.storage import files

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start():
    """start(code, *arguments) runs Python beside the test and waits for its first line."""
    running = []

    def start(code: str, *arguments) -> subprocess.Popen:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    path = tmp_path / "a" / "b" / "x.txt"
    for text in ("first", "Grüße 你好\n", ""):
        files.write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "x.json"
    files.write_json(path, [1])

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[failing], fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_json(path, [2])
    assert files.read_json(path) == [1] and list(tmp_path.iterdir()) == [path]


WRITER = """
import sys
from llumi_jax.storage import files
files.write_text(sys.argv[1], "0" * 1_000_000)
print("ready", flush=True)
while True:
    for digit in "123456789":
        files.write_text(sys.argv[1], digit * 1_000_000)
"""


def test_a_reader_and_a_kill_find_a_whole_file(tmp_path, start):
    path = tmp_path / "x.txt"
    writer = start(WRITER, path)
    for _ in range(50):
        text = path.read_text()
        assert len(text) == 1_000_000 and len(set(text)) == 1
    writer.kill()
    writer.wait()
    text = path.read_text()
    assert len(text) == 1_000_000 and len(set(text)) == 1


def test_json_comes_back(tmp_path):
    value = {"a": [1, 2.5, None], "ü": "é\n", "nested": {"x": True}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value
    assert "ü" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "x.json is missing"), (b'{"a": ', "x.json is not valid JSON"), (b"\xff\xfe", "x.json is not valid JSON")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UserError, match=message):
        files.read_json(tmp_path / "x.json")


# --- locks ---------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from llumi_jax.storage import files
with files.locked(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_folder_held_by_another_process_is_refused_with_its_number(tmp_path, start):
    holder = start(HOLDER, tmp_path)
    for _ in range(2):
        with pytest.raises(UserError, match=f"is in use by process {holder.pid}. Wait for it, or choose another"):
            with files.locked(tmp_path):
                pytest.fail("must not be entered")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_is_free_when_its_holder_is_gone(tmp_path, start, number):
    holder = start(HOLDER, tmp_path)
    holder.send_signal(number)
    holder.wait()
    with files.locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_folder_is_made_held_and_let_go(tmp_path):
    folder = tmp_path / "new" / "work"
    for _ in range(2):
        with files.locked(folder):
            with pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
                with files.locked(folder):
                    pass
    with pytest.raises(KeyError), files.locked(folder):
        raise KeyError
    with files.locked(folder):
        pass


def test_a_child_that_outlives_its_parent_does_not_keep_the_folder(tmp_path):
    with files.locked(tmp_path):
        child = subprocess.Popen(["sleep", "60"])
    try:
        with files.locked(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"):
        with files.locked(tmp_path / "file" / "work"):
            pass


def test_waiting_is_not_done(tmp_path, start):
    start(HOLDER, tmp_path)
    began = time.monotonic()
    with pytest.raises(UserError), files.locked(tmp_path):
        pass
    assert time.monotonic() - began < 1
