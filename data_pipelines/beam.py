"""Past one machine: the same dataset, made by a pipeline of Apache Beam on whatever runner a team has.

Workers do all that grows with the input (`beam_steps`); what is left comes back to this machine, where
`pipeline.finish` makes the dataset of it, as after `scale`. docs/beam.md tells what runs where, and how to start it on
Flink, Spark and Dataflow.
"""

import contextlib
import importlib.util
import io
import logging
import tempfile
import uuid
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llumi_jax.cli import RunFailure, UserError, suggestion

if TYPE_CHECKING:  # Flags must be there at once, whatever the steps import.
    from data_pipelines.pipeline import Dataset, Plan
    from data_pipelines.sources import Part, Settings

DIRECT = "DirectRunner"
RUNNERS = (DIRECT, "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner")
# Beam's DirectRunner would first fetch another program from the network and try that; this one is a part of Beam.
_NAMES_IN_BEAM = {DIRECT: "FnApiRunner"}
_NOT_OPTIONS = {"runner": "use --beam_runner", "streaming": "the input is files"}


def add_flags(group) -> None:
    """Adds the flags of a build on Beam to a group of `argparse`."""
    group.add_argument(
        "--beam_runner",
        metavar="RUNNER",
        help=f"build on Apache Beam: {', '.join(RUNNERS)}, or the dotted name of another (docs/beam.md)",
    )
    group.add_argument(
        "--beam_options",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="that runner's options, as Beam names them: parallelism=64 temp_location=gs://bucket/tmp",
    )


def options_of(flags: Namespace) -> list[str]:
    """Returns Beam's command line for the flags that `add_flags` added.

    Raises:
      UserError: options without a runner, or what is no NAME=VALUE.
    """
    if flags.beam_options and not flags.beam_runner:
        raise UserError(f"--beam_options needs --beam_runner. Choose one of: {', '.join(RUNNERS)}.")
    return [_option(word.removeprefix("--")) for word in flags.beam_options]


def _option(word: str) -> str:
    name = word.split("=")[0]
    if not name.isidentifier():
        raise UserError(f"--beam_options {word!r}: write NAME=VALUE, or NAME alone for a switch.")
    if name in _NOT_OPTIONS:
        raise UserError(f"--beam_options {name}: not here, {_NOT_OPTIONS[name]}.")
    return f"--{word}"


def is_far(path: str) -> bool:
    """Whether a path names another file system than this machine's, as gs://bucket/file does."""
    return "://" in path


def parts(source: str, files: Sequence[tuple[str, str]], shares: int, settings: "Settings") -> list["Part"]:
    """As `sources.parts`, for files on any of Beam's file systems too; those of this machine come first.

    Args:
      files: (kind, path or URL) of each.
      shares: how many readers a large file is shared by.

    Raises:
      UserError: Beam is not installed, or no file is at a URL.
    """
    from data_pipelines import sources

    far = [path for _, path in files if is_far(path)]
    if far and source == "convokit":
        raise UserError(f"{far[0]}: a corpus is a folder, which cannot be read from there. Copy it to a mounted one.")
    made = sources.parts(source, [(kind, path) for kind, path in files if not is_far(path)], shares, settings)
    for number, (kind, url) in enumerate(files):
        if is_far(url):
            size = _size(url)
            large = source == "reddit_dump" and size >= sources.MIN_SHARED_BYTES
            count = shares if large and len(files) < 2 * shares else 1
            made += [
                sources.Part(f"far{number:04d}-{share:02d}", source, url, size // count, kind, share, count, settings)
                for share in range(count)
            ]
    return made


def _size(url: str) -> int:
    _import_beam()
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems

    try:
        (found,) = FileSystems.match([url])[0].metadata_list
    except (BeamIOError, OSError, ValueError) as error:  # ValueError: not one file, or no such file system.
        raise UserError(
            f"{url}: no one file can be read there ({_first_line(error)}). Check the URL and what Beam needs for it."
        ) from None
    return found.size_in_bytes


def build(parts: Sequence["Part"], plan: "Plan", runner: str, options: Sequence[str]) -> "Dataset":
    """Builds the dataset of all parts of the input on a runner of Beam: the same one as `scale.build`.

    Args:
      runner: one of RUNNERS, or the dotted name of a class.
      options: Beam's command line, as `options_of` returns it.

    Raises:
      UserError: Beam is not installed; no such runner or option; whatever the sources and rules raise.
      RunFailure: the job ended before its time.
    """
    _import_beam()
    from data_pipelines import beam_steps, pipeline, scale

    job, known = _job(runner, options)
    partitions = max(1, sum(part.bytes for part in parts) // scale.BYTES_PER_PARTITION)
    with _shared_folder(runner, known) as folder:
        beam_steps.lay_out(job, parts, plan, partitions, folder)
        _run(job)
        learned = beam_steps.read_ending(folder)
        selected = beam_steps.read_selected(folder)
    return pipeline.finish(selected, plan, learned.learnt, learned.funnel)


def _import_beam() -> None:
    """Imports Beam without its greeting about services that nobody asked for."""
    if importlib.util.find_spec("apache_beam") is None:
        raise UserError(
            "--beam_runner needs Apache Beam, which is not installed. Run: pip install -c constraints.txt -e '.[beam]'"
        )
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        importlib.import_module("apache_beam")
    finally:
        logging.disable(before)


def _job(runner: str, options: Sequence[str]) -> tuple[Any, Any]:
    """Returns an empty pipeline for a runner, and Beam's options.

    Raises:
      UserError: no such runner or option, or one that the runner does not take.
    """
    import apache_beam

    if runner not in RUNNERS and "." not in runner:
        raise UserError(
            f"unknown --beam_runner {runner!r}. Choose from: {', '.join(RUNNERS)}, or name a class: package.Class."
            f"{suggestion(runner, RUNNERS)}"
        )
    if runner != DIRECT:
        logging.basicConfig(level=logging.INFO)  # Where the job is to be watched, and what becomes of it.
    known = _known_options([f"--runner={_NAMES_IN_BEAM.get(runner, runner)}", *options])
    try:
        return apache_beam.Pipeline(options=known), known
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"--beam_runner {runner}: {' '.join(str(error).split())}") from None


def _known_options(options: Sequence[str]) -> Any:
    """Returns Beam's options. One that it does not know may be a job server's own, unless it looks like a slip."""
    from apache_beam.options.pipeline_options import PipelineOptions

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            made = PipelineOptions(list(options))
            names = made.get_all_options()
    except SystemExit:
        raise UserError(f"--beam_options: {said.getvalue().strip().rpartition('error: ')[2]}") from None
    for name in (option.removeprefix("--").split("=")[0] for option in options):
        if name not in names and (near := suggestion(name, names)):
            raise UserError(f"--beam_options {name}: Beam has no such option.{near}")
    return made


@contextlib.contextmanager
def _shared_folder(runner: str, options: Any) -> Iterator[str]:
    """Yields a folder that the workers and this machine share, and deletes it in the end: it holds texts.

    Raises:
      UserError: the workers may be elsewhere and no such place was named, or it cannot be used.
    """
    from apache_beam.io.filesystem import BeamIOError
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import GoogleCloudOptions

    place = options.view_as(GoogleCloudOptions).temp_location
    if place is None and runner != DIRECT:
        raise UserError(
            f"--beam_runner {runner} needs --beam_options temp_location=FOLDER: a folder that the workers and this "
            "machine share, mounted or gs://bucket/tmp. What is left of the input waits there."
        )
    try:
        if place is None or not is_far(place):
            folder = tempfile.mkdtemp(prefix=".llumi-beam-", dir=place)  # Only its owner can look into it.
        else:
            folder = FileSystems.join(place, f"llumi-beam-{uuid.uuid4().hex}")
            FileSystems.mkdirs(folder)
    except (OSError, BeamIOError, ValueError) as error:
        why = _first_line(error)
        raise UserError(f"--beam_options temp_location={place}: no folder can be made there ({why}).") from None
    try:
        yield folder
    finally:
        FileSystems.delete([folder])


def _run(job: Any) -> None:
    from apache_beam.runners.runner import PipelineState

    result = job.run()
    try:
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        result.cancel()  # Nobody would take what it makes.
        raise
    if state != PipelineState.DONE:
        raise RunFailure(f"the job of Beam ended as {state}: its runner says why. Nothing was written.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
