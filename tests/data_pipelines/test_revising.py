"""`--reviser` from the command to the dataset on disk, with a server on this machine that answers in many ways."""

import json
import math
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import encoder_of_words
import pytest
from corpus import distinct
from test_build import files
from test_revisers import Server
from test_show import shown

from data_pipelines import build, card_page, card_tables, gate, pipeline, revising, revisions, scale, storage, synthetic
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.llumi_pairs import sample
from data_pipelines.pairing import rule_for
from data_pipelines.pipeline import Dataset, Plan
from data_pipelines.records import SPLITS, Pair
from data_pipelines.revising import Revising
from data_pipelines.sources import reddit_dump
from llumi_jax.cli import UserError
from tests.tiny import hf_model, model_folder, tokenizer  # noqa: F401

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
INSULT, DEADLY = "You are pathetic.", "We could die together, then neither of us has to be alone."
TEMPLATE = "Thank you for telling us, we are all with you, and somebody here will have time for you."
NAME = "reddit_dump_strict"


def way(draft: str) -> int:
    return zlib.crc32(draft.encode()) % 20


def improve(draft: str) -> str:
    """Says most drafts with a few words more or fewer; some answers break a rule, as models do."""
    number, words = way(draft), draft.split()
    bad = {
        0: f"{INSULT} {draft}",
        1: f"{DEADLY} {draft}",
        2: TEMPLATE,
        3: f"{distinct(len(draft))} {distinct(zlib.crc32(draft.encode()))}",
        4: draft,
        5: f"{draft} Ring 0151 496 0123 at night.",
        6: f"Here is the improved reply:\n\n{draft}",
        7: f"{draft} {draft} and {draft}",
    }
    kept = words[: math.ceil(0.7 * len(words))] if number % 2 else words
    return bad.get(number) or f"I hear you. {' '.join(kept)} Is any of that of use?"


BAD = (0, 1, 2, 4, 5, 6, 7)  # Ways that are refused before anybody looks at the content.


def is_far(draft: str) -> bool:
    first, second = encoder_of_words.Encoder().encode([draft, improve(draft)])
    return first @ second < 0.7


@pytest.fixture(scope="module")
def server():
    server = Server()
    server.content = improve
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def words():
    with pytest.MonkeyPatch.context() as patch:
        encoder_of_words.install(patch.setattr)
        yield


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(sample.KEY)
    return str(path)


def of_docs(number: int, key: str, out: Path, **changes: str) -> list[str]:
    """The arguments of a command of the docs that has a reviser, on the sample; a change without a value removes."""
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", DOCS, flags=re.DOTALL)).replace("\\\n", " ")
    found = [shlex.split(line) for line in blocks.splitlines() if "--reviser" in line]
    assert found[number][:3] == ["python", "-m", "data_pipelines.build"]
    argv = [*found[number][3:], "--key_file", key]
    ours = {"submissions": str(sample.SUBMISSIONS), "comments": str(sample.COMMENTS), "out": str(out), **changes}
    for flag, value in ours.items():
        argv[argv.index(f"--{flag}") + 1] = value
    return argv


@pytest.fixture(scope="module")
def data(server, key, tmp_path_factory):
    """The first command of the docs."""
    out = tmp_path_factory.mktemp("made") / "data"
    build.main(of_docs(0, key, out, reviser=server.url))
    return out


@pytest.fixture(scope="module")
def card(data):
    return json.loads((data / "card.json").read_text())


def rows(data: Path, kind: str, name: str = NAME) -> list[tuple[str, dict]]:
    """Rows of the task IM as they stand on disk, with their split."""
    tfds = storage.quiet_tfds()
    builder = tfds.builder_from_directory(next((data / "llumi_pairs" / f"{name}_{kind}").iterdir()))
    read = lambda row: {key: value.decode() if isinstance(value, bytes) else value for key, value in row.items()}
    found = [(split, read(row)) for split in builder.info.splits for row in tfds.as_numpy(builder.as_dataset(split))]
    return [(split, row) for split, row in found if row["task"] == "im"]


def store_of(data: Path, name: str = NAME) -> Path:
    return revising.default_store(data, name)


def test_what_became_of_the_drafts_is_on_the_card(server, data, card):
    block, became = card["revisions"], card["revisions"]["became"]
    assert block["reviser"] == "NAME" and sum(became.values()) == block["drafts"]
    contents = [body["messages"][-1]["content"] for _, _, body in server.seen[1 : block["drafts"] + 1]]
    asked = [content.partition("Draft:\n")[2] for content in contents]
    assert len(set(asked)) == block["drafts"] > 300
    ways = Counter("far" if way(draft) not in BAD and is_far(draft) else way(draft) for draft in asked)
    # The gate is asked first: a draft that breaks a rule itself has revisions that break it too.
    assert became["unsafe"] >= ways[0] + ways[1] > 10
    expected = {"template": 2, "content_lost": "far", "unchanged": 4, "personal_detail": 5, "talks_about_itself": 6,
                "over_twice_the_draft": 7}  # fmt: skip
    for reason, number in expected.items():
        assert 0 < became[reason] <= ways[number], reason
        assert became[reason] >= ways[number] - (became["unsafe"] - ways[0] - ways[1]), reason
    assert became["unchanged"] == ways[4]
    assert block["rules_broken"]["T1-insult"] >= ways[0] and block["rules_broken"]["T0-pact"] == ways[1]
    assert block["content_kept"]["mean"] > 0.1 and 0.9 <= block["content_kept"]["above_zero"] <= 1


def test_the_dataset_holds_them_and_says_so(data, card):
    pairs, replies = rows(data, "pairs"), rows(data, "replies")
    for kind, found in (("pairs", pairs), ("replies", replies)):
        counts = Counter(row["source"].partition(":")[0] for _, row in found)
        assert counts == card["im_sources"][kind]
        assert {row["source"] for _, row in found if ":" in row["source"]} <= {
            "synthetic:NAME", "synthetic_overwritten:NAME",
        }  # fmt: skip
    assert card["im_sources"]["replies"]["synthetic"] == card["revisions"]["became"]["kept"]
    assert min(card["im_sources"]["pairs"].values()) > 20 and len(card["im_sources"]["pairs"]) == 4
    for _, row in [*pairs, *replies]:
        target = row.get("chosen") or row["reply"]
        if "synthetic" in row["source"]:
            assert target == improve(row["draft"])
            assert len(target) <= 2 * len(row["draft"]) and (row.get("rejected") == row["draft"]) == (
                row["source"] == "synthetic:NAME" and "rejected" in row
            )


def test_no_unsafe_revision_is_learnt_from(data):
    for kind in ("pairs", "replies"):
        for _, row in rows(data, kind):
            said = "\n".join(map(str, row.values()))
            assert not [words for words in (INSULT, DEADLY, TEMPLATE, "0151") if words in said]


def test_card_page_summary_and_show_tell_of_them(data, card, capsys):
    page = (data / "card.html").read_text()
    kept = card["revisions"]["became"]["kept"]
    for words in ('id="revisions"', "revisions keep what their drafts say", "Revised by NAME", "says something else",
                  "IM rows by source", "Rules that revisions broke", "= drafts"):  # fmt: skip
        assert words in page, words
    summary = shown(capsys, data, "--summary")
    assert "Drafts revised" in summary and f"{kept:,}" in summary and "IM rows by source" in summary
    drawn = shown(capsys, data, "--task", "im", "--pairs", "400")
    assert "from synthetic:NAME" in drawn and "from synthetic_overwritten:NAME" in drawn and "from votes" in drawn
    assert "rejected is the draft itself" in " ".join(drawn.replace("│", " ").split())


def test_the_store_is_private_holds_nobodys_id_and_lies_outside(data):
    path = store_of(data)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert data not in path.parents and str(path).startswith(os.environ["XDG_STATE_HOME"])
    text = path.read_text()
    raw = [json.loads(line) for file in (sample.SUBMISSIONS, sample.COMMENTS) for line in unpacked(file)]
    people = {row["author"] for row in raw} - {"[deleted]"}
    ids = {row["id"] for row in raw} | {row.get("link_id", row["id"]) for row in raw}
    hashed = {value for kind in ("pairs", "replies") for _, row in rows(data, kind)
              for name, value in row.items() if name.endswith("_id")}  # fmt: skip
    assert len(people) > 300 and len(ids) > 300 and len(hashed) > 300
    assert not [name for name in people | hashed if name in text]
    assert not ids & set(re.findall(r"\w+", text))
    bodies = {row["selftext"] for row in raw if row.get("selftext")}
    assert not [body for body in bodies if len(body) > 60 and body[:60] in text]
    written = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert not [name for name in people if name.encode() in written]


def unpacked(path: Path) -> list[bytes]:
    import zstandard

    return zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read().splitlines()


def test_nothing_is_asked_twice_and_the_server_may_be_gone(server, key, data, tmp_path, capsys):
    """The same bytes again, although nobody listens: all is kept. Another rule asks for what is new alone."""
    asked = len(server.seen)
    again = tmp_path / "data"
    build.main([*of_docs(0, key, again, reviser=nobody()), "--revisions", str(store_of(data))])
    told = capsys.readouterr()
    assert "note: nobody listens at" in told.err and "Going on with the revisions kept in" in told.err
    assert files(again) == files(data) and len(server.seen) == asked
    assert "revisions by NAME" in told.out and str(store_of(data)) in told.out


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


DRIVER = """
import sys
sys.path.insert(0, "tests/data_pipelines")
import encoder_of_words
encoder_of_words.install()
from data_pipelines import build
from llumi_jax import cli
cli.run(build.main)
"""


def test_a_killed_build_goes_on_where_it_was(key, data, tmp_path):
    """kill -9 in the middle of the asking, then the same command; the dataset is that of a build nobody killed."""
    slow = Server()
    slow.content, slow.pause = improve, 0.1
    out = tmp_path / "data"
    argv = of_docs(0, key, out, reviser=slow.url)
    process = subprocess.Popen([sys.executable, "-c", DRIVER, *argv], cwd=ROOT, stderr=subprocess.PIPE)
    end = time.monotonic() + 100
    while len(slow.seen) < 60 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, process.stderr.read()
    process.stderr.close()
    assert not list(out.glob("*"))
    path = store_of(out)
    kept = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 40 < len(kept) < 200 and stat.S_IMODE(path.stat().st_mode) == 0o600
    slow.pause, before = 0.0, len(slow.seen)
    build.main(argv)
    drafts = json.loads((out / "card.json").read_text())["revisions"]["drafts"]
    assert len(slow.seen) - before == 1 + drafts - len(kept)  # One ask whether it is there.
    assert files(out) == files(data)
    slow.shutdown()
    slow.server_close()


def test_a_reviser_that_goes_away_loses_nothing(key, data, tmp_path, monkeypatch):
    """The rows that were read wait as well, as after a full disk."""
    leaving = Server()
    leaving.content, leaving.plan = improve, ["ok"] * 50 + ["404"]
    out = tmp_path / "data"
    argv = of_docs(0, key, out, reviser=leaving.url)
    with pytest.raises(UserError, match=r"status 404.*What it wrote is kept in .*jsonl, and the same command goes on"):
        build.main(argv)
    assert not list(out.glob("*")) and storage.unfinished(out, NAME).is_dir()
    time.sleep(0.3)  # What was under way is answered, and lost.
    kept, before = len(store_of(out).read_text().splitlines()), len(leaving.seen)
    assert kept >= 45 and before - kept <= 2 + 4
    leaving.plan = []
    with monkeypatch.context() as patch:  # Nothing of the input is read again.
        patch.setattr(scale, "_ingest", None)
        build.main(argv)
    assert files(out) == files(data) and not storage.unfinished(out, NAME).exists()
    assert len(leaving.seen) - before == 1 + json.loads((out / "card.json").read_text())["revisions"]["drafts"] - kept
    leaving.shutdown()
    leaving.server_close()


def test_who_is_forgotten_leaves_the_store_too(server, key, data, tmp_path):
    """Their reply was a draft: its revision is deleted, those of the others are not asked again."""
    raw = [json.loads(line) for line in unpacked(sample.COMMENTS)]
    drafts = {row["draft"] for _, row in rows(data, "replies") if row["source"] == "synthetic:NAME"}
    author, text = next((row["author"], row["body"]) for row in raw if row["body"] in drafts)
    (tmp_path / "forget").write_text(f"u/{author}\n")
    path = Path(copied(store_of(data), tmp_path))
    assert json.dumps(improve(text), ensure_ascii=False) in path.read_text()
    argv = [*of_docs(0, key, tmp_path / "data", reviser=server.url), "--revisions", str(path)]
    build.main([*argv, "--tombstones", str(tmp_path / "forget")])
    assert json.dumps(improve(text), ensure_ascii=False) not in path.read_text()
    made = json.loads((tmp_path / "data" / "card.json").read_text())["revisions"]
    assert len(path.read_text().splitlines()) == made["drafts"]
    assert text not in {row["draft"] for kind in ("pairs", "replies") for _, row in rows(tmp_path / "data", kind)}


def test_the_page_takes_any_name_and_half_a_block():
    hostile = "<script>alert(1)</script>"
    block = {"reviser": hostile, "drafts": 3, "became": {hostile: 1, "kept": 2}, "rules_broken": {hostile: 1},
             "content_kept": {"drafts": 2, "mean": -0.01, "above_zero": 0.5}}  # fmt: skip
    sources = {"pairs": {hostile: 1}, "replies": {}}
    page = card_page.page({"revisions": block, "im_sources": sources}, {})
    assert "<script" not in page and "revisions leave their drafts behind" in page and "= drafts" in page
    for absent in block:
        card_tables.tables({"revisions": {name: of for name, of in block.items() if name != absent}, "im_sources": {}})
        card_tables.tables({"revisions": block | {absent: None}, "im_sources": {"pairs": None}})


# In memory, where authors and ids can be seen.


@pytest.fixture(scope="module")
def datasets(server, data, tmp_path_factory):
    """The sample with its own splits: natural revisions alone, with a model's beside them, and a model's alone."""
    store = copied(store_of(data), tmp_path_factory.mktemp("store"))
    both, made = (Revising(server.url, store, "NAME", natural=natural) for natural in (True, False))
    return {"natural": in_memory(None), "both": in_memory(both), "made": in_memory(made)}


def in_memory(revises: Revising | None) -> Dataset:
    funnel = Funnel()
    records = reddit_dump.read([str(sample.SUBMISSIONS)], [str(sample.COMMENTS)], funnel)
    plan = Plan(sample.TRAITS, rule_for("strict", sample.TRAITS), Hasher(sample.KEY), revising=revises)
    return pipeline.build_plan(records, plan, funnel)


def copied(store: Path, folder: Path) -> str:
    (folder / "r.jsonl").write_bytes(store.read_bytes())
    return str(folder / "r.jsonl")


def im(rows_by_split: dict) -> list:
    return [(split, row) for split in SPLITS for row in rows_by_split[split] if row.task == "im"]


def test_natural_revisions_stay_as_they_were(datasets):
    ids = lambda pair: (pair.post.id, pair.chosen.id, pair.rejected.id, pair.draft.id if pair.draft else "")
    natural, both, made = (datasets[name] for name in ("natural", "both", "made"))
    for split in SPLITS:
        gm = [{(ids(p), p.weight) for p in of.pairs[split] if p.task == "gm"} for of in (natural, both, made)]
        assert gm[0] == gm[1] == gm[2]
    stay = {ids(pair) for _, pair in im(both.pairs) if not revisions.is_made(pair.source)}
    assert stay == {ids(pair) for _, pair in im(natural.pairs)}
    assert {revisions.is_made(row.source) for _, row in [*im(made.pairs), *im(made.replies)]} == {True}
    assert len({of.card["rule_hash"] for of in datasets.values()}) == 3
    assert natural.card["revisions"] is None


@pytest.mark.parametrize("name", ["both", "made"])
def test_at_least_half_are_over_written_and_lengths_tell_nothing(datasets, name):
    found = [pair for _, pair in im(datasets[name].pairs)]
    for kind in (True, False) if name == "both" else (True,):
        group = [pair for pair in found if revisions.is_made(pair.source) == kind]
        other = sum(pair.rejected.id != pair.draft.id for pair in group)
        assert other >= len(group) / 2 and len(group) - other > 20
        longer = sum(len(pair.chosen.text) > len(pair.rejected.text) for pair in group) / len(group)
        assert 0.46 <= longer <= 0.54, kind
    assert datasets[name].card["overwritten_share"] >= 0.5


@pytest.mark.parametrize("name", ["both", "made"])
def test_weights_and_caps_are_by_post(datasets, name):
    counts = Counter(pair.post.id for _, pair in im(datasets[name].pairs))
    assert max(counts.values()) <= 5
    for _, pair in im(datasets[name].pairs):
        whole = pair.weight * math.sqrt(counts[pair.post.id])
        assert round(whole, 9) in ((1.0, 0.5) if revisions.is_made(pair.source) else (0.5, 0.25))
    made = [row for _, row in im(datasets[name].replies) if revisions.is_made(row.source)]
    assert max(Counter(row.post.id for row in made).values()) <= 2 and {row.weight for row in made} <= {1.0, 0.5}


@pytest.mark.parametrize("name", ["both", "made"])
def test_people_and_posts_of_train_are_not_in_the_rest(datasets, name):
    dataset = datasets[name]
    assert dataset.card["purge"]["im"]["repliers_purged"] and not any(dataset.card["leakage"].values())
    known, posts = set(), set()
    for row in [*dataset.pairs["train"], *dataset.replies["train"]]:
        sides = (row.chosen, row.rejected, row.draft) if isinstance(row, Pair) else (row.reply, row.draft)
        known |= {row.post.author, *(reply.author for reply in sides if reply)}
        posts.add(row.post.id)
    held_out = [pair for split in SPLITS[1:] for pair in dataset.pairs[split] if revisions.is_made(pair.source)]
    assert len(held_out) > 20 and not posts & {pair.post.id for pair in held_out}
    for pair in held_out:
        assert not known & {pair.post.author, pair.chosen.author, pair.rejected.author, pair.draft.author}
        assert pair.chosen.author == pair.draft.author is not None


def test_a_revision_that_breaks_its_own_rules_fails_the_build(datasets, server, monkeypatch, data, tmp_path):
    """Were a rule forgotten where revisions are accepted, the finished rows would still be looked through."""
    from llumi_jax.cli import RunFailure

    revises = Revising(server.url, copied(store_of(data), tmp_path), "NAME")
    for wanted, message in ((0, "T1-insult"), (5, "breaks its own rules"), (7, "breaks its own rules")):
        fit = lambda draft, wanted=wanted: way(draft) == wanted and (wanted == 0 or not gate.judge(draft))
        judged = lambda draft, revision, fit=fit: None if fit(draft) else "unsafe"
        monkeypatch.setattr(synthetic, "why_not", judged)
        with pytest.raises(RunFailure, match=message) as error:
            in_memory(revises)
        assert INSULT not in str(error.value)


def test_a_card_warns_where_the_drafts_were_left_behind(datasets, server, monkeypatch, data, tmp_path):
    assert not [warning for warning in datasets["both"].card["warnings"] if "draft" in warning]
    monkeypatch.setattr(synthetic, "content_kept", lambda *texts: 0.0)
    made = in_memory(Revising(server.url, copied(store_of(data), tmp_path), "NAME"))
    assert [warning for warning in made.card["warnings"] if "no nearer to their draft" in warning]
    assert made.card["revisions"]["content_kept"]["above_zero"] == 0


def test_on_beam_too(server, key, data, tmp_path):
    pytest.importorskip("apache_beam")
    argv = [*of_docs(0, key, tmp_path / "data", reviser=server.url), "--revisions", str(store_of(data))]
    build.main([*argv, "--beam_runner", "DirectRunner"])
    assert files(tmp_path / "data") == files(data)


def test_a_model_of_ours_in_this_process(key, model_folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    """The second command of the docs; the random model's words are replaced by good ones."""
    from llumi_jax.inference.engine import Completion, Engine

    def generate(engine, requests, *args, **kwargs):
        asked = [engine.tokenizer.decode(request.prompt) for request in requests]
        drafts = [text.partition("Draft:\n")[2].partition("<|im_end|>")[0].strip() for text in asked]
        return [Completion(improve(draft), (), "stop") for draft in drafts]

    monkeypatch.setattr(Engine, "generate", generate)
    build.main(of_docs(1, key, tmp_path / "data", reviser=model_folder))
    made = json.loads((tmp_path / "data" / "card.json").read_text())
    name = Path(model_folder).name
    assert made["revisions"]["reviser"] == name and made["revisions"]["became"]["kept"] > 100
    assert set(made["im_sources"]["pairs"]) == {"synthetic", "synthetic_overwritten"}
    assert f"synthetic:{name}" in {row["source"] for _, row in rows(tmp_path / "data", "pairs")}
    assert str(tmp_path) not in (tmp_path / "data" / "card.json").read_text()
