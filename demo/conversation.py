"""What the page shows while the cascade writes: a pure fold of the cascade's events."""

import dataclasses
import threading
from collections.abc import Iterable, Iterator

from demo import words
from llumi_jax.inference.events import Began, Cleared, Ended, Event, Reply, Said


@dataclasses.dataclass(frozen=True)
class View:
    """One moment of the page. `draft` is GM's or the person's own; `finished`: nothing more will come."""

    draft: str = ""
    revision: str = ""
    status: str = words.WAITING
    finished: bool = False


def views(events: Iterable[Event], own_draft: str, stop: threading.Event) -> Iterator[View]:
    """Yields a view after each event, until the events end or `stop` is set."""
    texts = {"gm": own_draft, "im": ""}
    status, last = words.WAITING, None

    def view(finished: bool = False) -> View:
        return View(texts["gm"], texts["im"], status, finished)

    yield view()
    for event in events:
        if isinstance(event, Began):
            status = words.WRITING[event.role]
        elif isinstance(event, Said):
            texts[event.role] += event.text
        elif isinstance(event, Cleared):
            texts[event.role], status = "", words.AGAIN
        elif isinstance(event, Ended):
            last, texts[event.reply.role] = event.reply, event.reply.text
        else:
            continue
        if stop.is_set():
            status = words.STOPPED
            break
        yield view()
    else:
        status = _outcome(last)
    yield view(finished=True)


def _outcome(last: Reply | None) -> str:
    """How the last reply ended, in a sentence."""
    if last is None:
        return words.READY
    if last.finish == "withheld":
        return " ".join(f"{f.rule}: {f.message}" for f in last.findings if f.action != "note")
    if last.finish == "length":
        return "Cut off at the longest length: see “How it writes”."
    return "Done. Read every word before you use any of it."


class Stops:
    """Who asked to stop: one flag for each open page."""

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}

    def begin(self, session: str) -> threading.Event:
        """Returns the flag of what this page starts now. What it started before has ended: pages wait in one line."""
        self._flags[session] = threading.Event()
        return self._flags[session]

    def stop(self, session: str) -> None:
        if flag := self._flags.get(session):
            flag.set()

    def forget(self, session: str) -> None:
        """Stops, and keeps nothing of a page that was closed."""
        self.stop(session)
        self._flags.pop(session, None)
