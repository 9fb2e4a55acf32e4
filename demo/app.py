"""The page and its server: everything on loopback, nothing from anywhere else."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import fastapi  # noqa: E402
import gradio as gr  # noqa: E402
from starlette.middleware.trustedhost import TrustedHostMiddleware  # noqa: E402
from starlette.types import ASGIApp, Message, Receive, Scope, Send  # noqa: E402

from demo import draft, look, words  # noqa: E402
from demo.conversation import Stops  # noqa: E402
from llumi_jax.inference.cascade import Cascade  # noqa: E402

_QUEUE = 32
_HEADERS = {
    # Gradio's page starts from inline scripts and styles; nothing may come from, or go to, another origin.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def page(cascade: Cascade) -> gr.Blocks:
    """The whole page."""
    stops = Stops()
    with gr.Blocks(title=words.TITLE, analytics_enabled=False, fill_width=False) as blocks:
        gr.Markdown(f"# {words.TITLE}\n{words.LEAD}", elem_id="masthead")
        if cascade.banner:
            gr.Markdown(cascade.banner, elem_id="banner")
        gr.Markdown(words.PRIVATE, elem_id="private")
        draft.build(cascade, stops)
        with gr.Row(elem_classes="about"):
            gr.Markdown(words.IS, container=True)
            gr.Markdown(words.IS_NOT, container=True)

        def closed(request: gr.Request) -> None:
            stops.forget(request.session_hash)

        blocks.unload(closed)
    return blocks.queue(max_size=_QUEUE, default_concurrency_limit=1)


def server(cascade: Cascade) -> fastapi.FastAPI:
    """The page as an ASGI application with its safety headers."""
    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        app,
        page(cascade),
        path="/",
        theme=look.theme(),
        css=look.CSS,
        footer_links=[],
        run_history=False,
        blocked_paths=["/"],
        max_file_size=0,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    app.add_middleware(SafetyHeaders)
    # A page elsewhere that makes its own name point to this machine still sends that name.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    return app


class SafetyHeaders:
    """Adds the safety headers to every answer, without holding back streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
            await send(message)

        await self._app(scope, receive, with_headers)
