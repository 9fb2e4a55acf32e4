"""Keyed hashes: the only names that posts, replies and people have in what is written.

The key stays outside the data folder. With the same key the same post gets the same id and the same split, so
a dataset can grow, and a person can be found again for removal; without it nobody can go back to the source.
"""

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

from llumi_jax.cli import UserError

KEY_BYTES = 32


class Hasher:
    """HMAC-SHA256 under one key, apart for every `kind` of thing named."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _digest(self, kind: str, parts: tuple[str, ...]) -> bytes:
        return hmac.digest(self._key, "\0".join((kind, *parts)).encode("utf-8", "surrogatepass"), hashlib.sha256)

    def id(self, kind: str, *parts: str) -> str:
        """Returns 24 hexadecimal characters (96 bits)."""
        return self._digest(kind, parts)[:12].hex()

    def uniform(self, kind: str, *parts: str) -> float:
        """Returns a number in [0, 1) that depends on the key and the name alone."""
        return int.from_bytes(self._digest(kind, parts)[:7], "big") / 2**56


def default_key_path() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "llumi_jax" / "dataset.key"


def load_key(key_file: str | None, out: Path) -> tuple[bytes, Path, bool]:
    """Returns the key, where it lies, and whether it was made just now.

    Raises:
      UserError: the named file is missing, too short, or inside the folder that is going to be shared.
    """
    path = Path(key_file).expanduser() if key_file else default_key_path()
    if out.resolve() in path.resolve().parents:
        raise UserError(f"--key_file {path}: the key must not lie inside --out {out}; keep it where only you can read.")
    if key_file and not path.exists():
        raise UserError(f"--key_file {path}: no such file. Leave the flag out, and a key is made for you.")
    if not path.exists():
        return _make_key(path), path, True
    key = path.read_bytes().strip()
    if len(key) < KEY_BYTES // 2:
        raise UserError(f"--key_file {path}: a key needs at least {KEY_BYTES // 2} bytes, this one has {len(key)}.")
    return key, path, False


def _make_key(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = secrets.token_hex(KEY_BYTES).encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + b"\n")
    return key
