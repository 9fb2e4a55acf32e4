"""The cascade: post -> triage -> GM's draft -> rules -> IM's revision -> rules. Or a person's own draft -> IM.

Nobody sees text that the rules have not seen: a stream is released sentence by sentence, each after the rules
have read everything up to its end. A violation clears what was shown and writes anew, a bounded number of times;
then the reply is withheld and a fixed text stands in its place. `stream` and `run` come to the same replies.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence

from llumi_jax.inference.engine import Completion, Request
from llumi_jax.inference.events import Began, Cleared, Ended, Event, Finding, Hooks, Reply, Result, Said, Triaged
from llumi_jax.inference.sampling import Sampling
from llumi_jax.inference.text import Sentences, sentences
from llumi_jax.inference.writers import Post, Writer

MODES = {"gm": ("gm",), "im": ("im",), "cascade": ("gm", "im")}
WITHHELD = "This reply was withheld by the safety rules. Please answer this post in your own words, or ask a colleague."
ATTEMPTS = 3
_RETRY_TEMPERATURE = 0.7  # a greedy reply would come out the same again


def item_seed(seed: int, post_id: str | int, role: str, attempt: int) -> int:
    """The seed of one attempt at one reply: it depends on nothing that a batch or a restart could change."""
    digest = hashlib.sha256(f"{seed}\n{post_id!r}\n{role}\n{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


class Cascade:
    """GM and IM, whichever are there, behind triage and output rules."""

    def __init__(self, writers: dict[str, Writer], hooks: Hooks | None = None, attempts: int = ATTEMPTS) -> None:
        self.writers = writers
        self.hooks = hooks or Hooks()
        self.attempts = attempts

    @property
    def banner(self) -> str | None:
        """The warning to show beside every text, if any writer needs one."""
        return next((w.banner for w in self.writers.values() if w.banner), None)

    def stream(
        self, post: Post, sampling: Sampling, seed: int = 0, mode: str = "cascade"
    ) -> Generator[Event, None, None]:
        """Yields what happens as it happens. Closing the generator stops the writing.

        In mode "im" the revision is of `post.draft`; in "cascade" of GM's draft.
        """
        yield Triaged(tuple(self.hooks.triage(post)))
        draft = post.draft
        for role in MODES[mode]:
            yield Began(role)
            reply = yield from self._stream_reply(role, post, draft, sampling, seed)
            yield Ended(reply)
            if reply.finish == "withheld":
                return
            draft = reply.text

    def run(
        self,
        posts: Sequence[Post],
        sampling: Sampling,
        seed: int = 0,
        mode: str = "cascade",
        *,
        batch_size: int = 8,
        on_done: Callable[[], None] = lambda: None,
        check: Callable[[], None] = lambda: None,
    ) -> list[Result]:
        """Writes for many posts side by side. `on_done` hears of every finished reply.

        `check` is called every few tokens; what it raises ends the writing.
        """
        triage = [tuple(self.hooks.triage(post)) for post in posts]
        replies: list[dict[str, Reply]] = [{} for _ in posts]
        drafts = [post.draft for post in posts]
        going_on = list(range(len(posts)))
        for role in MODES[mode]:
            tasks = {i: (posts[i], drafts[i]) for i in going_on}
            for i, reply in self._run_role(role, tasks, sampling, seed, batch_size, on_done, check).items():
                replies[i][role], drafts[i] = reply, reply.text
            going_on = [i for i in going_on if replies[i][role].finish != "withheld"]
        return [Result(*each) for each in zip(posts, triage, replies, strict=True)]

    def _stream_reply(
        self, role: str, post: Post, draft: str, sampling: Sampling, seed: int
    ) -> Generator[Event, None, Reply]:
        for attempt in range(self.attempts):
            try:
                request = self._request(role, post, draft, sampling, seed, attempt)
            except ValueError as error:
                return _too_long(role, error)
            text, findings, finish = yield from self._stream_attempt(role, post, request)
            if not _is_bad(findings):
                return Reply(role, text, finish, attempt + 1, findings)
            yield Cleared(role, findings)
            if self._gives_up(attempt, findings):
                break
        yield Said(role, WITHHELD)
        return Reply(role, WITHHELD, "withheld", attempt + 1, findings)

    def _stream_attempt(
        self, role: str, post: Post, request: Request
    ) -> Generator[Event, None, tuple[str, tuple[Finding, ...], str]]:
        """Releases sentence after sentence until the reply ends or the rules object."""
        writer = self.writers[role]
        stream = writer.engine.stream(request, writer.adapter)
        released = _BySentence(stream)
        text = ""
        try:
            for sentence in released:
                longer = (text + sentence).lstrip()
                findings = self._read(post, role, longer)
                if _is_bad(findings):
                    return longer, findings, ""
                if len(longer) > len(text):
                    yield Said(role, longer[len(text) :])
                text = longer
        finally:
            stream.close()  # also when nobody listens any more
        text = text.strip()
        return text, self._read(post, role, text, whole=True), released.finish

    def _run_role(
        self,
        role: str,
        tasks: dict[int, tuple[Post, str]],
        sampling: Sampling,
        seed: int,
        batch_size: int,
        on_done: Callable[[], None],
        check: Callable[[], None],
    ) -> dict[int, Reply]:
        writer, done = self.writers[role], {}
        for attempt in range(self.attempts):
            requests: dict[int, Request] = {}
            for i, (post, draft) in tasks.items():
                if i not in done:
                    try:
                        requests[i] = self._request(role, post, draft, sampling, seed, attempt)
                    except ValueError as error:
                        done[i] = _too_long(role, error)
            heard = (lambda _: None) if attempt else (lambda _: on_done())
            written = writer.engine.generate(
                list(requests.values()), writer.adapter, batch_size=batch_size, on_done=heard, check=check
            )
            for i, completion in zip(requests, written, strict=True):
                reply = self._judge(tasks[i][0], role, completion, attempt)
                if reply is not None:
                    done[i] = reply
        return {i: done[i] for i in tasks}

    def _judge(self, post: Post, role: str, completion: Completion, attempt: int) -> Reply | None:
        """The reply that a stream of the same tokens would have ended with; None asks for another attempt."""
        text = ""
        findings: tuple[Finding, ...] = ()
        for sentence in sentences(completion.text):
            text = (text + sentence).lstrip()
            findings = self._read(post, role, text)
            if _is_bad(findings):
                break
        else:
            text = text.strip()
            findings = self._read(post, role, text, whole=True)
        if not _is_bad(findings):
            return Reply(role, text, completion.finish, attempt + 1, findings)
        if self._gives_up(attempt, findings):
            return Reply(role, WITHHELD, "withheld", attempt + 1, findings)
        return None

    def _gives_up(self, attempt: int, findings: Sequence[Finding]) -> bool:
        return attempt + 1 == self.attempts or any(f.action == "withhold" for f in findings)

    def _request(self, role: str, post: Post, draft: str, sampling: Sampling, seed: int, attempt: int) -> Request:
        if attempt and sampling.temperature == 0:
            sampling = dataclasses.replace(sampling, temperature=_RETRY_TEMPERATURE)
        return self.writers[role].request(post, draft, sampling, item_seed(seed, post.id, role, attempt))

    def _read(self, post: Post, role: str, text: str, whole: bool = False) -> tuple[Finding, ...]:
        if whole and not text:
            return (Finding("empty-reply", role, "The model ended its turn without a word.", "rewrite"),)
        return tuple(self.hooks.output(post, role, text))


class _BySentence:
    """Iterates over an engine's stream in whole sentences; `finish` is known when it has ended."""

    def __init__(self, stream: Generator[str, None, Completion]) -> None:
        self._stream = stream
        self.finish = "stop"

    def __iter__(self) -> Iterator[str]:
        buffer = Sentences()
        while True:
            try:
                piece = next(self._stream)
            except StopIteration as end:
                self.finish = end.value.finish
                yield from buffer.flush()
                return
            yield from buffer.push(piece)


def _is_bad(findings: Sequence[Finding]) -> bool:
    return any(f.action != "note" for f in findings)


def _too_long(role: str, error: ValueError) -> Reply:
    finding = Finding("input-too-long", role, f"Nothing was written: {error}.", "withhold")
    return Reply(role, "", "withheld", 0, (finding,))
