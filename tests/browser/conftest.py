"""A real browser that may speak to this machine only, and the demo as a person starts it."""

import os
import re
import socket
import subprocess
import sys
import threading

import pytest

from tests import tiny

hf_model, tokenizer, model_folder = tiny.hf_model, tiny.tokenizer, tiny.model_folder  # fixtures


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def open_page(browser):
    """Opens an address in a context of its own; fails at the end if anything left this machine or a script failed."""
    contexts, foreign, errors = [], [], []

    def open_(url, **kwargs):
        context = browser.new_context(**kwargs)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        local = re.compile(r"(https?|wss?)://127\.0\.0\.1(:\d+)?/|data:|blob:")
        page.on("request", lambda request: None if local.match(request.url) else foreign.append(request.url))
        page.on("websocket", lambda socket: None if local.match(socket.url) else foreign.append(socket.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#write")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not foreign, f"left this machine: {foreign}"
    assert not errors, errors


@pytest.fixture(scope="session")
def demo_url(model_folder, tmp_path_factory):
    """`python -m demo` with a tiny random model in both roles."""
    port = free_port()
    env = {**os.environ, "LLUMI_CACHE": str(tmp_path_factory.mktemp("cache"))}
    command = [sys.executable, "-m", "demo", "--gm", model_folder, "--im", model_folder, "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "open at" in line:
            break
    else:
        pytest.fail("the demo did not start:\n" + "".join(lines))
    threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(20)
    print("".join(lines))


@pytest.fixture
def serve():
    """Serves the page over a cascade that a test scripts itself."""
    import uvicorn

    from demo import app

    servers = []

    def serve_(cascade):
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app.server(cascade), host="127.0.0.1", port=port, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            thread.join(0.05)
        servers.append((server, thread))
        return f"http://127.0.0.1:{port}/"

    yield serve_
    for server, thread in servers:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)
