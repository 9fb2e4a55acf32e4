"""A whole training run in seconds: a random Llama, a tokenizer and a dataset made on the spot, and the train command.

Import the fixtures `train` and `uninterrupted` into a test file; they are made once a session.
"""

import contextlib
import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STAGES = ("gm_sft", "gm_dpo", "im_sft", "im_dpo")
STEPS = 10
DATASET = "data_pipelines.llumi_pairs:LlumiPairs/tiny"
_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_WORDS = "garden rain tired work friend alone sleep morning letter river quiet phone sister walk table night".split()


# --- the base ------------------------------------------------------------------------------------------------------


def save_tokenizer(folder: Path, corpus: list[str]) -> Any:
    """A byte-level tokenizer with merges learned from the corpus, so that prompts are short, and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=special, initial_alphabet=alphabet, show_progress=False, min_frequency=1
    )
    raw.train_from_iterator(corpus, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=_CHATML
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def save_base(folder: Path, **overrides: Any) -> Path:
    """A random Llama as a Hugging Face folder; every size can be halved, so that it fits a 2 x 2 x 2 mesh."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    from llumi_jax import prompts

    corpus = [text for task in prompts.TASKS for text in (m["content"] for m in prompts.messages(task, "", "", "d"))]
    tokenizer = save_tokenizer(folder, [*corpus, " ".join(_WORDS)] * 4)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(tokenizer) + len(tokenizer) % 2, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512,
        "tie_word_embeddings": False, "initializer_range": 0.1, "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    LlamaForCausalLM(LlamaConfig(**{**sizes, **overrides})).save_pretrained(folder)
    return folder


# --- the dataset ---------------------------------------------------------------------------------------------------


def _sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words))


def _thread(rng: random.Random, task: str, name: str, words: int) -> tuple[list[dict], list[dict]]:
    """The pairs and the reply examples of one post: three replies, the first of them preferred to both others."""
    post = {
        "thread_id": name, "task": task, "community": "invented", "title": _sentence(rng, 3),
        "body": _sentence(rng, rng.randint(6, 18)), "draft": _sentence(rng, 5) if task == "im" else "",
        "source": "votes",
    }  # fmt: skip
    best, *others = [_sentence(rng, rng.randint(3, words)) for _ in range(2)] + [_sentence(rng, words)]
    pairs = [
        {**post, "pair_id": f"{name}-{i}", "chosen": best, "rejected": other, "probability": 0.9 - 0.2 * i,
         "weight": 1.0 - 0.3 * i, "score_chosen": 9, "score_rejected": i}
        for i, other in enumerate(others)
    ]  # fmt: skip
    return pairs, [{**post, "reply_id": f"{name}-r", "reply": best, "weight": 1.0}]


def save_dataset(
    data: Path, name: str = "tiny", threads: int = 64, roles: tuple[str, ...] = ("gm", "im"), words: int = 14
) -> Path:
    """Writes the TFDS configs `<name>_pairs` and `<name>_replies` with the features of the dataset contract.

    `words` is the length of the longest replies.
    """
    from data_pipelines.llumi_pairs.llumi_pairs import _FEATURES
    from data_pipelines.storage import quiet_tfds

    tfds = quiet_tfds()
    rng = random.Random(0)
    splits: dict[str, dict[str, list]] = {"pairs": {}, "replies": {}}
    for split, count in (("train", threads), ("test", 6)):
        made = [_thread(rng, role, f"{split}-{role}-{i}", words) for role in roles for i in range(count)]
        splits["pairs"][split] = [(pair["pair_id"], pair) for pairs, _ in made for pair in pairs]
        splits["replies"][split] = [(reply["reply_id"], reply) for _, replies in made for reply in replies]
    for kind, rows in splits.items():
        with contextlib.redirect_stdout(None):
            tfds.dataset_builders.store_as_tfds_dataset(
                name="llumi_pairs", version="1.0.0", config=f"{name}_{kind}", data_dir=data,
                features=tfds.features.FeaturesDict(_FEATURES[kind]), split_datasets=rows, disable_shuffling=False,
            )  # fmt: skip
    return data


# --- the command ---------------------------------------------------------------------------------------------------

_CONFIG = '''"""Four stages, seconds long."""

from configs.common import config, stage


def get_config():
    return config(
        stage("gm", "sft", steps={steps}, learning_rate=1e-3, evaluate=False),
        stage("gm", "dpo", steps={steps}, learning_rate=1e-3),
        stage("im", "sft", steps={steps}, learning_rate=1e-3, evaluate=False),
        stage("im", "dpo", steps={steps}, learning_rate=1e-3),
        base={base!r},
        pairs="{dataset}_pairs",
        replies="{dataset}_replies",
        row_length=256,
        batch_rows=4,
        max_prompt_tokens=200,
        checkpoint_every=2,
        samples=0,
        sample_tokens=8,
        reference_cache="none",
        lora=dict(rank=4, alpha=8.0, rslora=False, targets=("q", "k", "v", "o", "gate", "up", "down")),
    )
'''


class Train:
    """The train command over the tiny base and dataset: in a process of its own, or (for mistakes) in this one."""

    def __init__(self, folder: Path, base: Path, data: Path) -> None:
        self.base, self.data, self._folder = base, data, folder
        self.config = folder / "tiny.py"
        self.config.write_text(_CONFIG.format(steps=STEPS, base=str(base), dataset=DATASET))
        self.environment = {
            **os.environ,
            # Compiled programs are shared by all runs of a session: most of a tiny run would be compilation.
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.05",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "TF_ENABLE_ONEDNN_OPTS": "0",
        }

    def with_stages(self, path: Path, *stages: str) -> "Train":
        """The command over a config of other stages, e.g. 'stage("gm", "dpo", steps=3)', written to `path`."""
        text = self.config.read_text()
        first, last = text.index("        stage("), text.index("        base=")
        path.write_text(text[:first] + "".join(f"        {stage},\n" for stage in stages) + text[last:])
        other = copy.copy(self)
        other.config = path
        return other

    def arguments(self, workdir: Path, *more: str) -> list[str]:
        return ["--config", str(self.config), "--workdir", str(workdir), "--data_dir", str(self.data), *more]

    def start(self, workdir: Path, *more: str, **options: Any) -> subprocess.Popen:
        command = [sys.executable, "-m", "llumi_jax.train", *self.arguments(workdir, *more)]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    def run(self, workdir: Path, *more: str, **options: Any) -> subprocess.CompletedProcess:
        """Runs the command to its end."""
        process = self.start(workdir, *more, **options)
        out, err = process.communicate(timeout=900)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def finish(self, workdir: Path, *more: str) -> Path:
        """Runs the command to its end, which must be a good one."""
        done = self.run(workdir, *more)
        assert done.returncode == 0, done.stderr
        return workdir

    def mistake(self, capsys: pytest.CaptureFixture, *arguments: str) -> str:
        """Runs the command in this process; it must end with exit code 2 and one line, which is returned."""
        from llumi_jax import cli
        from llumi_jax import train as command

        with pytest.raises(SystemExit) as ended:
            cli.run(command.main, arguments)
        err = capsys.readouterr().err
        assert ended.value.code == 2, err
        *before, line = err.splitlines()
        assert line.startswith("error: ") and not [b for b in before if "error" in b.lower() or "Traceback" in b], err
        return line

    @contextlib.contextmanager
    def watched(self, workdir: Path, seen: Callable[[], bool], *more: str) -> Iterator[subprocess.Popen]:
        """Starts the command and yields when `seen()` holds; kills what is left of it afterwards."""
        process = self.start(workdir, *more)
        try:
            deadline = time.monotonic() + 900
            while not seen():
                if process.poll() is not None:
                    pytest.fail(f"the run ended ({process.returncode}) before its moment: {process.communicate()}")
                assert time.monotonic() < deadline, "the moment never came"
                time.sleep(0.0005)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate()


# A fixture that several files import is made once for each of them: what takes long is made once for all.


_made: dict[str, Any] = {}


def _once(name: str, make: Callable[[], Any]) -> Any:
    if name not in _made:
        _made[name] = make()
    return _made[name]


def _train(factory: pytest.TempPathFactory) -> Train:
    base, data = save_base(factory.mktemp("base")), save_dataset(factory.mktemp("data"))
    return Train(factory.mktemp("train"), base, data)


@pytest.fixture(scope="session")
def train(tmp_path_factory):
    """The train command over the tiny base and dataset."""
    return _once("train", lambda: _train(tmp_path_factory))


@pytest.fixture(scope="session")
def uninterrupted(train, tmp_path_factory):
    """A work directory of a run of all four stages that nobody disturbed; not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "work"
    return _once("uninterrupted", lambda: train.finish(folder, "--config.samples=1"))


# --- what a run leaves behind --------------------------------------------------------------------------------------


def digests(workdir: Path, stages: Sequence[str] = STAGES) -> dict[str, Any]:
    """{stage: SHA-256 of parameters and optimiser state, and the position}."""
    return {s: json.loads((workdir / s / "done.json").read_text())["sha256"] for s in stages}


def metrics(workdir: Path, stage: str) -> list[dict[str, Any]]:
    path = workdir / stage / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(workdir: Path, stage: str) -> dict[int, float]:
    """{step: loss}; every step must be there once, in order."""
    lines = metrics(workdir, stage)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return {line["step"]: line["loss"] for line in lines}
