"""Who revises drafts: a model on this machine, behind an OpenAI-compatible address or in our own engine.

A reviser answers one ask, a post and a draft of a reply to it, with the improved reply. It says `Failed` about an ask
that it cannot answer, and `UserError` when nothing will come of any.
"""

import dataclasses
import hashlib
import json
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from data_pipelines import loopback
from data_pipelines.records import Post
from llumi_jax import prompts
from llumi_jax.cli import UserError

if TYPE_CHECKING:
    from llumi_jax.inference.cascade import Cascade
    from llumi_jax.inference.sampling import Sampling

ENDPOINT = "/v1/chat/completions"
MODELS = "/v1/models"
MAX_TOKENS = 1024  # A draft has 512 at most, and a revision may be twice as long.
_GROWTH, _SLACK = 2.5, 16  # Tokens of a revision of our engine: above twice the draft, however they are cut.
_LONGEST_WAIT = 30.0  # seconds between two tries
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_THIS_ASK = frozenset({400, 413, 422})
_MARK = re.compile(r"<\|[^|<>\n]{1,40}\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?s>|</?think>")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
Ask = tuple[Post, str]


class Failed(Exception):
    """One ask was not answered. `reason` is a word for the card: no_answer, refused, cut_off or withheld.

    `final`: the same ask would come to the same end again.
    """

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.final = reason, final


_Done = queue.SimpleQueue[tuple[int, str | Failed | Exception]]


class Reviser(Protocol):
    """Improves drafts. `name` stands in the dataset; `identity` is all that decides what is written."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    def revise(self, post: Post, draft: str) -> str:
        """Returns the improved draft.

        Raises:
          Failed: not this one.
          UserError: none at all.
        """
        ...


@runtime_checkable
class ManyReviser(Protocol):
    """A reviser that is quicker with many asks at once."""

    def revise_many(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str | Failed]]:
        """Yields the index of each ask and what became of it, in any order."""
        ...


def revise_all(reviser: Reviser, asks: Sequence[Ask]) -> Iterator[tuple[int, str | Failed]]:
    """Yields the index of each ask and what became of it, in any order, as they are finished."""
    if isinstance(reviser, ManyReviser):
        yield from reviser.revise_many(asks)
        return
    for index, (post, draft) in enumerate(asks):
        yield index, _outcome(reviser, post, draft)


def _outcome(reviser: Reviser, post: Post, draft: str) -> str | Failed:
    try:
        return reviser.revise(post, draft)
    except Failed as failed:
        return failed


class EndpointReviser:
    """A model behind /v1/chat/completions on this machine (llama.cpp, vLLM, Ollama, LM Studio, llumi_jax.serve, …)."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        temperature: float = 0.3,
        max_tokens: int = MAX_TOKENS,
        seed: int = 0,
        timeout: float = 120.0,
        tries: int = 4,
        backoff: float = 0.5,
        concurrency: int = 4,
        token: str | None = None,
    ) -> None:
        """
        Args:
          url: http://127.0.0.1:PORT, with or without /v1 and what follows it.
          model: as the server calls it.
          timeout: of one try, in seconds.
          tries: before an ask is given up; the pause between them begins with `backoff` seconds and doubles.
          concurrency: asks under way side by side.
          token: sent as a bearer token where the server wants one.

        Raises:
          UserError: the address is not on this machine's loopback, or a number is out of range.
        """
        self.address = _at(url, ENDPOINT)
        for what, value in (("tries", tries), ("concurrency", concurrency), ("timeout", timeout)):
            if value <= 0:
                raise UserError(f"{what} {value} of the reviser {model!r}: give more than 0.")
        self.name = _without_folders(model)
        self.concurrency = concurrency
        self._settings = {"model": model, "temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        self._timeout, self._tries, self._backoff, self._token = timeout, tries, backoff, token

    @property
    def identity(self) -> str:
        return json.dumps(self._settings, sort_keys=True)

    def check(self) -> None:
        """Asks for a word, so that a mistake is said at once and not after hours of reading.

        A server that is busy, or still loads its model, passes.

        Raises:
          UserError: nobody listens, what does is no such server, or it knows neither the model nor the token.
        """
        asked = {"model": self._settings["model"], "messages": [{"role": "user", "content": "Hello."}]}
        try:
            answer = loopback.post_json(
                self.address, {**asked, "max_tokens": 1, "stream": False}, self._timeout, self._token
            )
        except TimeoutError:
            return
        except ConnectionRefusedError:
            raise self._nobody_listens() from None
        except (OSError, HTTPException):
            raise self._no_such_server() from None
        if answer.status == 200 and not _is_completion(answer.body):
            raise self._no_such_server()
        if answer.status not in (200, *_TRY_AGAIN, *_THIS_ASK):
            raise self._refused(answer.status)

    def revise(self, post: Post, draft: str) -> str:
        texts = (_without_marks(text) for text in (post.title, post.body, draft))
        request = {**self._settings, "messages": prompts.messages("im", *texts), "stream": False}
        pause, refused = self._backoff, False
        for left in reversed(range(self._tries)):
            refused, wait = False, None
            try:
                answer = loopback.post_json(self.address, request, self._timeout, self._token)
            except ConnectionRefusedError:
                refused = True
            except (OSError, HTTPException):
                pass
            else:
                text, wait = self._read(answer), answer.retry_after
                if text is not None:
                    return text
            if left:
                time.sleep(min(max(pause, wait or 0.0), _LONGEST_WAIT))
                pause *= 2
        if refused:
            raise self._nobody_listens()
        raise Failed("no_answer")

    def _read(self, answer: loopback.Answer) -> str | None:
        """Returns the text of an answer, None if another try may bring a better one."""
        if answer.status == 200:
            return _text_of(answer.body)
        if answer.status in _TRY_AGAIN:
            return None
        if answer.status in _THIS_ASK:
            raise Failed("refused")
        raise self._refused(answer.status)

    def _nobody_listens(self) -> UserError:
        return UserError(f"nobody listens at {self.address}. Start the server of {self.name}, or check the port.")

    def _no_such_server(self) -> UserError:
        return UserError(f"{self.address} does not answer as an OpenAI-compatible server does. Check the port.")

    def _refused(self, status: int) -> UserError:
        return UserError(
            f"{self.address} answered with status {status}. Check the address, the token and the name of the "
            f"model, {self.name!r}.{_told(models_at(str(self.address), self._token))}"
        )

    def revise_many(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str | Failed]]:
        """Yields as answers come, `concurrency` asks under way at a time. An error ends it, when all that was answered
        by then is said; what is under way is left.

        Threads are daemons: nobody who interrupts the program has to wait for a slow server.
        """
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        done: _Done = queue.SimpleQueue()
        stop = threading.Event()
        for index in range(len(asks)):
            todo.put(index)

        def work() -> None:
            while not stop.is_set():
                try:
                    index = todo.get_nowait()
                except queue.Empty:
                    return
                try:
                    done.put((index, _outcome(self, *asks[index])))
                except Exception as error:
                    done.put((index, error))

        for _ in range(min(self.concurrency, len(asks))):
            threading.Thread(target=work, daemon=True).start()
        try:
            for _ in asks:
                index, outcome = done.get()
                if not isinstance(outcome, str | Failed):
                    stop.set()
                    yield from _answered(done)
                    raise outcome
                yield index, outcome
        finally:
            stop.set()


def _answered(done: _Done) -> Iterator[tuple[int, str | Failed]]:
    """Yields what waits in the queue, errors left out."""
    while not done.empty():
        index, outcome = done.get()
        if isinstance(outcome, str | Failed):
            yield index, outcome


def _at(url: str, endpoint: str) -> loopback.Address:
    """Returns the address of an endpoint, whatever of its path the URL has."""
    address = loopback.parse(url)
    return loopback.Address(
        address.host, address.port, address.path.removesuffix(ENDPOINT).removesuffix("/v1") + endpoint
    )


def models_at(url: str, token: str | None = None, timeout: float = 5.0) -> list[str]:
    """Returns the names of the models that a server says it has; none if it does not say.

    Raises:
      UserError: the address is not on this machine's loopback.
    """
    try:
        answer = loopback.get(_at(url, MODELS), timeout, token)
        found = json.loads(answer.body)["data"] if answer.status == 200 else []
        return [str(model["id"]) for model in found]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return []


def missing_model(url: str, token: str | None = None) -> UserError:
    """Says that an address alone does not name a model, and which there are.

    Raises:
      UserError: the address is not on this machine's loopback.
    """
    return UserError(
        f"--reviser {url} needs --reviser_model NAME, the model as that server calls it.{_told(models_at(url, token))}"
    )


def _told(models: Sequence[str]) -> str:
    return f" It has: {', '.join(models[:8])}." if models else ""


def _without_folders(model: str) -> str:
    """Some servers call a model by the path of its file: the dataset need not say where on this machine that is."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model


def _is_completion(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["choices"])
    except (ValueError, LookupError, TypeError):
        return False


def _without_marks(text: str) -> str:
    """Removes what common templates mark turns with: nobody may end the user's turn from inside a post."""
    while (shorter := _MARK.sub("", text)) != text:
        text = shorter
    return _whole(text)


def _whole(text: str) -> str:
    """Half a character, which no server takes and no dataset holds, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _text_of(body: bytes) -> str | None:
    """Returns the answer's text without a reasoning model's thoughts, None where it holds none.

    Raises:
      Failed: the answer was cut off at the limit of tokens.
    """
    try:
        choice = json.loads(body)["choices"][0]
        text = choice["message"]["content"]
        finish = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if finish == "length":
        raise Failed("cut_off")
    if not isinstance(text, str):
        return None
    return _whole(_THOUGHTS.sub("", text)).strip() or None


class EngineReviser:
    """A model of ours as IM, in this process."""

    def __init__(self, cascade: "Cascade", sampling: "Sampling", *, seed: int = 0, batch_size: int = 8) -> None:
        """`cascade` holds a writer for "im"; its hooks judge every revision before we see it."""
        writer = cascade.writers["im"]
        self.name = writer.name
        self._cascade, self._sampling, self._seed, self._batch_size = cascade, sampling, seed, batch_size
        self._weights = writer.weights

    @classmethod
    def load(cls, spec: str, *, dtype: str = "float32", seed: int = 0, batch_size: int = 8) -> "EngineReviser":
        """Loads whatever `llumi_jax.generate --im` takes: a stage, a folder, an adapter, a .gguf file, a hub id.

        Raises:
          UserError: it cannot be loaded, or was trained for another task.
        """
        from llumi_jax.inference import writers
        from llumi_jax.inference.cascade import Cascade
        from llumi_jax.inference.sampling import Sampling

        loaded = Cascade(writers.load({"im": spec}, dtype=dtype))
        return cls(loaded, Sampling(temperature=0.3, max_tokens=MAX_TOKENS), seed=seed, batch_size=batch_size)

    @property
    def identity(self) -> str:
        settings = {"weights": self._weights, "sampling": self._sampling.to_dict(), "seed": self._seed}
        return json.dumps({**settings, "hooks": self._cascade.hooks.name}, sort_keys=True)

    def revise(self, post: Post, draft: str) -> str:
        ((_, outcome),) = self.revise_many([(post, draft)])
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

    def revise_many(self, asks: Sequence[Ask]) -> Iterator[tuple[int, str | Failed]]:
        """Yields batch after batch, short drafts first. The seed of each revision depends on its ask alone."""
        window = 2 * self._batch_size
        tokens = [self._tokens(draft) for _, draft in asks]
        order = sorted(range(len(asks)), key=lambda index: tokens[index])
        for start in range(0, len(asks), window):
            some = order[start : start + window]
            posts = [_as_asked(*asks[index]) for index in some]
            # What goes on for longer could not be accepted: a small model that rambles is stopped early.
            most = min(self._sampling.max_tokens, int(_GROWTH * tokens[some[-1]]) + _SLACK)
            sampling = dataclasses.replace(self._sampling, max_tokens=most)
            results = self._cascade.run(posts, sampling, self._seed, "im", batch_size=self._batch_size)
            for index, result in zip(some, results, strict=True):
                reply = result.replies["im"]
                failed = {"withheld": "withheld", "length": "cut_off"}.get(reply.finish)
                yield index, Failed(failed, final=True) if failed else reply.text

    def _tokens(self, text: str) -> int:
        return len(self._cascade.writers["im"].engine.tokenizer(text, add_special_tokens=False)["input_ids"])


def _as_asked(post: Post, draft: str) -> Any:
    from llumi_jax.inference import writers

    name = hashlib.sha256(json.dumps([post.title, post.body, draft]).encode()).hexdigest()[:24]
    return writers.Post(name, post.title, post.body, draft)
