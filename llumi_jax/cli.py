"""How every command behaves: flags, help, error lines and exit codes.

Exit codes: 0 done, or saved on a signal; 2 the user's mistake (one line on standard error, with a way out);
1 anything else. Nothing here imports jax, flax or tensorflow: help must appear at once.
"""

import argparse
import difflib
import errno
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USER_ERROR = 2


class UserError(Exception):
    """A mistake that the person at the keyboard can mend.

    The message is one line that names the file, line, key or value, and says what to do.
    """


class RunFailure(Exception):
    """A run that cannot go on although nobody made a mistake (a loss that is no number, say): one line, exit code 1."""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the candidate nearest to `name`, or an empty string."""
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults beside each flag and leaves the examples of a description as they were written."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, [], argparse.SUPPRESS) or action.required:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line with a suggestion. Abbreviated flags are refused."""

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith((".", "?")) else "."
        raise UserError(f"{message}{end} See '{self.prog} --help'.")

    def parse_args(self, args=None, namespace=None):
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flags = [option for parser in self._with_subparsers() for option in parser._option_string_actions]
            word = unknown[0].split("=")[0]
            self.error(f"unknown argument {word!r}.{suggestion(word, flags)}".rstrip("."))
        return parsed

    def _with_subparsers(self) -> list[argparse.ArgumentParser]:
        children = [
            child
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for child in action.choices.values()
        ]
        return [self, *children]


def describe_os_error(error: OSError) -> str:
    """Says in one line what the file system refused."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk{where}. Free some space and run the same command again: it will go on."
    if isinstance(error, FileNotFoundError):
        return f"no such file or folder{where}. Check the path."
    if isinstance(error, PermissionError):
        return f"permission denied{where}. Choose a place you may read and write."
    return f"{error.strerror or error}{where}"


def _os_error_of(error: BaseException) -> OSError | None:
    """Finds the disk-full error that a library wrapped into its own exception, if there is one."""
    seen: BaseException | None = error
    while seen is not None:
        # What was merely being handled when something else broke (`__context__`) explains it only if the disk was full.
        full = isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(seen, OSError) and (full or seen is error or seen is error.__cause__):
            return seen
        if "No space left on device" in str(seen) or "ENOSPC" in str(seen):
            return OSError(errno.ENOSPC, "No space left on device")
        seen = seen.__cause__ or seen.__context__
    return None


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a command's `main(argv)` and ends the process with the exit code that its outcome asks for."""
    _quiet_libraries()
    try:
        code = main(sys.argv[1:] if argv is None else argv) or EXIT_OK
    except BrokenPipeError:
        # The reader of our output went away (`| head`): that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_OK
    except (Exception, KeyboardInterrupt) as error:
        message, code = outcome(error)
        if message is None:
            raise
        _fail(message, code)
    sys.stdout.flush()
    sys.exit(code)


def outcome(error: BaseException) -> tuple[str | None, int]:
    """The line and the exit code with which a command ends by this error; no line where nobody foresaw it."""
    if isinstance(error, UserError):
        return str(error), EXIT_USER_ERROR
    if isinstance(error, RunFailure):
        return str(error), EXIT_FAILURE
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted. Run the same {os.path.basename(sys.argv[0])} command again to go on.", EXIT_FAILURE
    found = _os_error_of(error)
    if found is None or found.errno not in (errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.EACCES, errno.EROFS):
        return None, EXIT_FAILURE
    return describe_os_error(found), EXIT_USER_ERROR


def _quiet_libraries() -> None:
    """Keeps libraries from speaking of themselves between our lines; read when they are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow only feeds data here
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its tokenizers are used, and torch is not missed


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
