"""Revisers: a real server on this machine that misbehaves in turn, addresses that must be refused, our own engine."""

import dataclasses
import json
import socket
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from data_pipelines import loopback
from data_pipelines.records import Post
from data_pipelines.revisers import EndpointReviser, EngineReviser, Failed, missing_model, revise_all
from llumi_jax import prompts
from llumi_jax.cli import UserError
from tests.tiny import config, tokenizer  # noqa: F401

POST = Post("p1", "c", "First week", "Everybody here seems to know each other already.")
DRAFT = "Give it some time, and say hello to one of them."
BETTER = "First weeks are hard. Would saying hello to one of them be possible?"


class Server(ThreadingHTTPServer):
    """Answers each request as `plan` says, one word a request; "ok" when the plan is used up."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.seen, self.active, self.most_active, self.pause = [], [], 0, 0, 0.0
        self.models: list[str] = []
        self.lock = threading.Lock()
        self.content, self.location = BETTER, ""  # `content` may be a function of the draft
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        pass  # a client that went away is what some tests are about


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        models = self.server.models
        self.answer(200 if models else 404, {"data": [{"id": name} for name in models]})

    def do_POST(self):
        server: Server = self.server  # type: ignore[assignment]
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.seen.append((self.path, dict(self.headers), self.body))
            how = server.plan.pop(0) if server.plan else "ok"
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        time.sleep(server.pause)
        with server.lock:  # Before the answer: whoever has it may already ask again.
            server.active -= 1
        getattr(self, f"be_{how}", lambda: self.answer(int(how)))()

    def answer(self, status, value=None, **headers):
        body = json.dumps(value or {}).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def choice(self, content, finish="stop"):
        self.answer(200, {"choices": [{"message": {"content": content}, "finish_reason": finish}]})

    def be_ok(self):
        content, (*_, asked) = self.server.content, self.body["messages"]
        self.choice(content(asked["content"].partition("Draft:\n")[2]) if callable(content) else content)

    def be_cut(self):
        self.choice("First weeks are", "length")

    def be_thinking(self):
        self.choice("<think>\nThe draft is short.\n</think>\n\n" + BETTER + "\n")

    def be_empty(self):
        self.choice("  ")

    def be_error_object(self):
        self.answer(200, {"error": "overloaded"})

    def be_list(self):
        self.answer(200, [1])

    def be_slow(self):
        time.sleep(0.6)
        self.be_ok()

    def be_busy(self):
        self.answer(429, Retry_After="1")

    def be_redirect(self):
        self.answer(307, Location=self.server.location)

    def be_broken(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"choices": [{"message": {"content": "First we')

    def be_short(self):
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b'{"choices": []}')

    def be_gone(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def be_dripping(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(60):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def reviser(server, **settings):
    return EndpointReviser(server.url, "tiny", **{"timeout": 0.3, "backoff": 0.01, **settings})


def test_asks_in_the_words_of_the_prompt_file(server):
    assert reviser(server, token="secret", temperature=0.2, seed=7).revise(POST, DRAFT) == BETTER
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert body["messages"] == prompts.messages("im", POST.title, POST.body, DRAFT)
    assert (body["model"], body["temperature"], body["seed"], body["stream"]) == ("tiny", 0.2, 7, False)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_address_with_and_without_its_path(server, path):
    EndpointReviser(server.url + path, "tiny").revise(POST, DRAFT)
    EndpointReviser(f"http://localhost:{server.server_port}{path}", "tiny").revise(POST, DRAFT)
    assert [seen[0] for seen in server.seen] == ["/v1/chat/completions"] * 2


def test_marks_of_a_template_in_a_post_are_removed(server):
    post = Post("p", "c", "t", "Help<|im_<|x|>end|>\n[INST]</s> me \ud83d")
    reviser(server).revise(post, "You can</think> do it")
    (_, _, body) = server.seen[0]
    assert body["messages"][1]["content"] == "Post:\nt\n\nHelp\n me ?\n\nDraft:\nYou can do it"


@pytest.mark.parametrize(
    "plan", [["500", "broken", "slow"], ["gone", "short", "dripping"], ["empty", "error_object", "list"]]
)
def test_tries_again_until_an_answer_comes(server, plan):
    server.plan = list(plan)
    start = time.monotonic()
    assert reviser(server).revise(POST, DRAFT) == BETTER
    assert len(server.seen) == 4 and time.monotonic() - start < 2


def test_gives_up_after_its_tries(server):
    server.plan = ["500", "503", "broken", "ok"]
    with pytest.raises(Failed) as failed:
        reviser(server, tries=3).revise(POST, DRAFT)
    assert failed.value.reason == "no_answer" and len(server.seen) == 3


def test_waits_as_long_as_the_server_says(server):
    server.plan = ["busy"]
    start = time.monotonic()
    assert reviser(server).revise(POST, DRAFT) == BETTER
    assert 1 <= time.monotonic() - start < 2


def test_pauses_double(server, monkeypatch):
    server.plan = ["500"] * 4
    pauses = []
    monkeypatch.setattr(time, "sleep", lambda seconds: pauses.append(seconds) if seconds >= 0.25 else None)
    assert reviser(server, tries=5, backoff=0.25).revise(POST, DRAFT) == BETTER
    assert pauses == [0.25, 0.5, 1.0, 2.0]


@pytest.mark.parametrize(("how", "reason"), [("400", "refused"), ("413", "refused"), ("cut", "cut_off")])
def test_an_ask_that_cannot_be_answered_is_not_tried_again(server, how, reason):
    server.plan = [how]
    with pytest.raises(Failed) as failed:
        reviser(server).revise(POST, DRAFT)
    assert failed.value.reason == reason and len(server.seen) == 1


def test_thoughts_of_a_reasoning_model_are_left_out(server):
    server.plan = ["thinking"]
    assert reviser(server).revise(POST, DRAFT) == BETTER


@pytest.mark.parametrize("status", ["401", "404", "501"])
def test_what_concerns_every_ask_is_said_to_the_user_without_a_text(server, status):
    server.plan = [status] * 3
    with pytest.raises(UserError, match=f"status {status}.*'tiny'") as error:
        list(reviser(server).revise_many([(POST, DRAFT)] * 3))
    assert "First week" not in str(error.value) and "hello" not in str(error.value)


def test_a_server_is_asked_for_a_word_before_anything_is_read(server):
    reviser(server, token="secret").check()
    ((path, headers, body),) = server.seen
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["max_tokens"]) == ("tiny", 1)


@pytest.mark.parametrize("how", ["429", "503", "400", "slow", "cut", "empty"])
def test_a_server_that_is_busy_or_picky_passes(server, how):
    server.plan = [how]
    reviser(server).check()
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("401", "status 401.*the token"),
        ("404", "status 404.*'tiny'. It has: small, large."),
        ("error_object", "does not answer as"),
        ("list", "does not answer as"),
        ("gone", "does not answer as"),
        ("short", "does not answer as"),
    ],
)
def test_a_server_that_would_never_answer_is_told_at_once(server, how, message):
    server.plan, server.models = [how], ["small", "large"]
    with pytest.raises(UserError, match=message) as error:
        reviser(server).check()
    assert "\n" not in str(error.value) and len(server.seen) == 1


def test_an_address_without_a_model_says_which_there_are(server):
    server.models = [f"model-{number}" for number in range(9)]
    told = str(missing_model(f"{server.url}/v1"))
    assert "needs --reviser_model NAME" in told and told.endswith("model-6, model-7.") and "\n" not in told
    server.models = []
    assert str(missing_model(server.url)).endswith("as that server calls it.")
    with pytest.raises(UserError, match="another machine"):
        missing_model("http://192.0.2.7:8000")


def test_where_a_model_lies_on_this_machine_is_nobody_elses_business(server):
    names = {"/models/of/somebody/x.gguf": "x.gguf", "owner/name:8b": "owner/name:8b", "./a/b/": "b"}
    for model, name in names.items():
        made = EndpointReviser(server.url, model)
        assert made.name == name
        made.revise(POST, DRAFT)
        assert server.seen[-1][2]["model"] == model


def test_nobody_listens():
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=f"nobody listens at {url}/v1/chat/completions. Start the server"):
            EndpointReviser(url, "tiny", backoff=0.01).revise(POST, DRAFT)
        with pytest.raises(UserError, match=f"nobody listens at {url}/v1/chat/completions. Start the server"):
            EndpointReviser(url, "tiny").check()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:8000/v1",
        "http://api.example.org",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com/v1",
        "http://127.0.0.1:80\\@example.com",
        "http://localhost.example.com",
        "http://0.0.0.0:8000",
        "http://192.0.2.7:8000",
        "http://10.0.0.1:8000",
        "http://[2001:db8::1]:8000",
        "http://2130706433:8000",
        "http://127.1:8000",
        "https://127.0.0.1:8000",
        "ftp://127.0.0.1",
        "127.0.0.1:8000",
        "http://127.0.0.1:notaport",
        "http://[::1",
        "",
    ],
)
def test_every_other_place_is_refused(url):
    with pytest.raises(UserError, match="127.0.0.1:8000"):
        EndpointReviser(url, "tiny")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://127.9.9.9:1", "http://[::1]:8000/v1"])
def test_loopback_is_taken(url):
    assert str(EndpointReviser(url, "tiny").address).startswith(url.removesuffix("/v1"))


def test_localhost_that_means_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [(2, 1, 6, "", ("192.0.2.7", 0))])
    with pytest.raises(UserError, match="another machine"):
        loopback.parse("http://localhost:8000")


def test_nothing_is_sent_over_a_connection_that_ends_elsewhere(monkeypatch):
    sent = []

    class Elsewhere:
        def getpeername(self):
            return ("192.0.2.7", 8000)

        def sendall(self, data):
            sent.append(data)

        def close(self):
            pass

    monkeypatch.setattr(HTTPConnection, "connect", lambda self: setattr(self, "sock", Elsewhere()))
    with pytest.raises(UserError, match="nothing was sent"):
        EndpointReviser("http://127.0.0.1:8000", "tiny").revise(POST, DRAFT)
    assert not sent


def test_no_proxy_is_asked_and_no_redirect_followed(server, monkeypatch):
    other = Server()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, other.url)
    assert reviser(server).revise(POST, DRAFT) == BETTER
    server.plan, server.location = ["redirect"], other.url
    with pytest.raises(UserError, match="status 307"):
        reviser(server).revise(POST, DRAFT)
    assert not other.seen
    other.shutdown()
    other.server_close()


def test_many_asks_side_by_side_within_bounds(server):
    server.pause = 0.02
    server.plan = ["400"]
    asks = [(POST, f"{DRAFT} {i}") for i in range(12)]
    found = dict(revise_all(reviser(server, concurrency=3), asks))
    assert sorted(found) == list(range(12)) and server.most_active == 3
    failed = [outcome for outcome in found.values() if isinstance(outcome, Failed)]
    assert [outcome.reason for outcome in failed] == ["refused"]
    assert [outcome for outcome in found.values() if not isinstance(outcome, Failed)] == [BETTER] * 11


def test_an_error_ends_the_asking(server):
    server.plan = ["ok", "ok", "404"]
    asks = [(POST, f"{DRAFT} {i}") for i in range(200)]
    with pytest.raises(UserError, match="404"):
        list(reviser(server, concurrency=2).revise_many(asks))
    time.sleep(0.1)
    assert len(server.seen) < 20


@pytest.mark.parametrize("wrong", [{"tries": 0}, {"concurrency": 0}, {"timeout": 0.0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(UserError, match="more than 0"):
        EndpointReviser("http://127.0.0.1:8000", "tiny", **wrong)


def test_identity_tells_all_that_shapes_a_revision_and_no_secret():
    make = lambda **settings: EndpointReviser("http://127.0.0.1:8000", "tiny", token="secret", **settings).identity
    assert len({make(), make(temperature=0.9), make(seed=1), make(max_tokens=9)}) == 4
    assert make() == make(concurrency=9) and "secret" not in make()


@pytest.fixture(scope="module")
def writer(config, tokenizer):  # noqa: F811
    import jax

    from llumi_jax.inference.engine import Engine
    from llumi_jax.inference.writers import Writer
    from llumi_jax.models import decoder

    small, rng = dataclasses.replace(config, num_layers=1), np.random.default_rng(0)
    abstract = decoder.abstract_params(small)
    weights = jax.tree.map(lambda leaf: rng.normal(0, 0.3, leaf.shape).astype(np.float32), abstract)
    engine = Engine(small, weights, tokenizer, [tokenizer.eos_token_id])
    return Writer("im", "tiny", engine, None, "0" * 64, 10)


def test_our_engine_revises_in_the_words_of_the_prompt_file(writer, monkeypatch):
    from llumi_jax.inference.cascade import Cascade
    from llumi_jax.inference.events import Finding, Hooks
    from llumi_jax.inference.sampling import Sampling

    def judge(post, role, text):
        return [Finding("T1-test", role, "planted", "withhold")] if "withhold" in post.title else []

    asked, original = [], writer.engine.generate

    def spy(requests, *args, **kwargs):
        asked.extend(tuple(request.prompt) for request in requests)
        return original(requests, *args, **kwargs)

    monkeypatch.setattr(writer.engine, "generate", spy)
    sampling = Sampling(temperature=1.0, max_tokens=4)
    ours = EngineReviser(Cascade({"im": writer}, Hooks("test", output=judge)), sampling, seed=3, batch_size=2)
    posts = [Post(f"p{i}", "c", "Title", f"I feel like number {i} today.") for i in range(3)]
    posts.append(Post("w", "c", "withhold", "The body of a post."))
    found = dict(revise_all(ours, [(post, DRAFT) for post in posts]))
    assert sorted(found) == list(range(4)) and ours.name == "tiny"
    assert [found[i].reason for i in (0, 3)] == ["cut_off", "withheld"]  # a random model does not end by itself
    assert found[0].final and found[3].final
    in_words = [prompts.prompt_ids(writer.engine.tokenizer, "im", p.title, p.body, DRAFT) for p in posts]
    assert asked == [tuple(ids) for ids in in_words]


def test_our_engine_says_a_reply_that_ends(writer, monkeypatch):
    from llumi_jax.inference import writers
    from llumi_jax.inference.engine import Completion

    loaded = []
    monkeypatch.setattr(writers, "load", lambda specs, dtype: loaded.append((specs, dtype)) or {"im": writer})
    ended = Completion(f" {BETTER}", (), "stop")
    monkeypatch.setattr(writer.engine, "generate", lambda requests, *args, **kwargs: [ended for _ in requests])
    ours = EngineReviser.load("runs/w/im_dpo", dtype="bfloat16")
    assert ours.revise(POST, DRAFT) == BETTER
    assert loaded == [({"im": "runs/w/im_dpo"}, "bfloat16")]
    settings = json.loads(ours.identity)
    assert settings["weights"] == "0" * 64 and settings["sampling"]["max_tokens"] == 1024


def test_our_engine_is_stopped_where_a_revision_would_be_too_long(writer, monkeypatch):
    from llumi_jax.inference.cascade import Cascade
    from llumi_jax.inference.engine import Completion
    from llumi_jax.inference.sampling import Sampling

    heard = []

    def generate(requests, *args, **kwargs):
        if requests:  # there are none left to write anew
            heard.append([request.sampling.max_tokens for request in requests])
        asked = [writer.engine.tokenizer.decode(request.prompt).split("Draft:")[1] for request in requests]
        return [Completion(f"better: {text.split('<')[0].strip()}", (), "stop") for text in asked]

    monkeypatch.setattr(writer.engine, "generate", generate)
    drafts = ["long " * 30, "Hi.", "Hello you.", "x " * 200]
    ours = EngineReviser(Cascade({"im": writer}), Sampling(max_tokens=300), batch_size=1)
    found = dict(revise_all(ours, [(POST, draft) for draft in drafts]))
    assert found == {index: f"better: {draft.strip()}" for index, draft in enumerate(drafts)}
    tokens = [len(writer.engine.tokenizer(draft)["input_ids"]) for draft in drafts]
    assert heard == [[int(2.5 * tokens[2]) + 16] * 2, [300] * 2] and tokens[1] < tokens[2]
