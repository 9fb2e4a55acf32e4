"""`python -m demo`: the demo on this machine's own address."""

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llumi_jax import cli

HOST = "127.0.0.1"
DESCRIPTION = """\
Opens the demo on this machine: a post goes in, GM drafts a reply, IM revises it.

  python -m demo --sample                            the quickstart's result
  python -m demo --gm W/gm_dpo --im W/im_dpo         any two models

No request leaves the machine, and nobody else can reach the page."""

_QUICKSTART = "python -m llumi_jax.train --config configs/quickstart.py --workdir {}"


def parser() -> cli.Parser:
    """The command's flags."""
    p = cli.Parser(prog="python -m demo", description=DESCRIPTION)
    p.add_argument("--gm", metavar="DIR", help="the model that drafts a reply")
    p.add_argument("--im", metavar="DIR", help="the model that improves a draft")
    p.add_argument("--sample", action="store_true", help="show the models that the quickstart trained")
    p.add_argument("--workdir", default="runs/quickstart", metavar="W", help="where the quickstart was trained")
    p.add_argument("--port", type=int, default=7860, help="on 127.0.0.1")
    p.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of weights and computation")
    return p


def main(argv: Sequence[str]) -> None:
    """Loads both models, opens the page and stays until it is interrupted."""
    args = parser().parse_args(argv)
    specs = _specs(args)
    listener = _listen(args.port)
    print("Loading the models…", flush=True)
    from llumi_jax.inference import writers
    from llumi_jax.inference.cascade import Cascade

    _keep_compiled_programs()
    cascade = Cascade(writers.load(specs, dtype=args.dtype, smallest_capacity=1024))
    if cascade.banner:
        print(cascade.banner)
    import uvicorn

    from demo import app

    config = uvicorn.Config(app.server(cascade), log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    threading.Thread(target=_warm, args=(cascade,), daemon=True).start()
    print(f"The demo is open at http://{HOST}:{args.port} (end it with Ctrl-C)", flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _specs(args: Any) -> dict[str, str]:
    if not args.sample:
        if not (args.gm and args.im):
            raise cli.UserError("give both --gm DIR and --im DIR, or --sample for the quickstart's result.")
        return {"gm": args.gm, "im": args.im}
    if args.gm or args.im:
        raise cli.UserError("--sample brings both models: leave out --gm and --im.")
    stages = {role: Path(args.workdir) / f"{role}_dpo" for role in ("gm", "im")}
    for stage in stages.values():
        if not (stage / "model.json").exists():
            command = _QUICKSTART.format(args.workdir)
            raise cli.UserError(f"{stage} is not there: the quickstart has not been trained. Make it with: {command}")
    return {role: str(stage) for role, stage in stages.items()}


def _listen(port: int) -> socket.socket:
    """Takes the port before anything slow happens."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except (OSError, OverflowError):
        raise cli.UserError(f"port {port} cannot be had on {HOST}. Choose another with --port.") from None
    return listener


def _keep_compiled_programs() -> None:
    """Makes the second start quick: compiled programs stay in the user's cache folder."""
    import jax

    from llumi_jax.interchange.packages import cache_folder

    jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _warm(cascade: Any) -> None:
    """Compiles for the usual lengths while the person reads the page."""
    for prompt_tokens in (160, 230, 350, 120, 500):
        for engine, adapter in {(w.engine, w.adapter) for w in cascade.writers.values()}:
            engine.warm(prompt_tokens, adapter)
            time.sleep(0.1)  # lets a person who has clicked meanwhile go first


if __name__ == "__main__":
    cli.run(main)
