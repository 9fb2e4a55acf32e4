"""The end-of-turn token is a target of every reply: a trained model stops by itself."""

from llumi_jax import prompts
from llumi_jax.data import dataset
from llumi_jax.inference.engine import Engine, Request
from llumi_jax.inference.sampling import Sampling
from llumi_jax.interchange import sources
from tests import tiny_run

train = tiny_run.train  # fixture


def test_an_overfit_model_says_its_replies_and_stops(train, tmp_path):
    tiny_run.save_dataset(train.data, "few", threads=2, roles=("gm",))
    name = tiny_run.DATASET.replace("tiny", "few_replies")
    flags = ["--config.only=gm_sft", "--config.lora=None", f"--config.replies={name}", "--config.batch_rows=1"]
    flags += [f"--config.stage.gm_sft.{setting}" for setting in ("steps=60", "learning_rate=0.01")]
    flags += ["--config.checkpoint_every=60"]
    work = train.finish(tmp_path / "work", *flags)
    model = sources.load_model(str(work / "gm_sft"))
    engine = Engine(model.config, model.params, model.tokenizer, [prompts.end_of_turn_id(model.tokenizer)])
    for thread in dataset.read_threads(name, "train", "gm", train.data, "replies"):
        prompt = prompts.prompt_ids(model.tokenizer, "gm", thread.title, thread.body)
        (written,) = engine.generate([Request(tuple(prompt), Sampling(temperature=0.0, max_tokens=64))], batch_size=1)
        assert written.finish == "stop" and written.text == thread.replies[0]
