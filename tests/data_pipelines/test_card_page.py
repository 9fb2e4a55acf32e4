"""The card's page: whole, safe whatever a source is called, silent about texts, readable by everybody."""

import copy
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import audit, card_page, card_plots, card_tables, card_words
from data_pipelines.card_style import CSS
from data_pipelines.records import Pair, Post, Reply, Traits

HOSTILE = "</style></table><script>alert(1)</script><img src=x onerror=alert(2)> & \"q\" 'q' $x^2$ \x1b[31m \u202e"
TRAITS = Traits("reddit_dump", self_vote=True, fuzz=True, time=True, views=False, posts_are_rows=True)
_VOID = {"meta", "br", "use"}


class Page(HTMLParser):
    """Checks that every element is closed in order, and keeps what the tests look at; tables as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.headings: list[int] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self.rows: list[list[str]] = []
        elif tag == "caption":
            self.rows.append([""])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open and self.open.pop() == tag, f"</{tag}> closes another element"
        if tag == "table":
            caption, *rows = self.rows
            self.tables[caption[0]] = rows

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th", "caption"):
            self.rows[-1][-1] += data

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


def pairs_of(count: int, secret: str = "") -> list[Pair]:
    """Pairs of invented posts, of both tasks, three to a post."""
    rng = np.random.default_rng(7)
    made = []
    for i in range(count):
        post = Post(
            f"raw{secret}{i // 3}", f"community {i % 4}", f"{secret} title", f"{secret} body", f"poster{secret}"
        )
        chosen, rejected = (
            Reply(f"{side}{secret}{i}", post.id, f"{secret} {'w' * int(rng.integers(40, 300))}", f"author{secret}",
                  int(1_700_000_000 + rng.integers(0, 90_000)), int(rng.integers(*scores)))
            for side, scores in (("c", (5, 400)), ("r", (-9, 9)))
        )  # fmt: skip
        task = "im" if i % 5 == 4 else "gm"
        draft = rejected if task == "im" else None
        made.append(Pair(task, post, chosen, rejected, float(rng.uniform(0.8, 1)), draft=draft))
    return made


def full_card(pairs: list[Pair]) -> dict:
    """A card with every block that a page may find."""
    gm = [pair for pair in pairs if pair.task == "gm"]
    audits = audit.audit(gm, TRAITS, in_time_order=False)
    return {
        "dataset": "lanterns", "source": "reddit_dump", "rule": "strict", "rule_hash": "0123abcd", "seed": 0,
        "settings": {"name": "strict", "min_ratio": 2.0, "min_gap": 3, "time_order": False, "chosen_quantile": None},
        "clauses_off": ["views"], "prior": {"shape": 1.0, "rate": 0.5},
        "similarity": {"name": "words", "threshold": 0.07},
        "input": 1000,
        "funnel": {"reply_nested": 300, "reply_odd_new_reason": 150, "post_short": 50, "kept": 500},
        "pair_funnel": {"candidates": 90, "same_text": 1, "caps": 29, "kept": 60},
        "pairs": {"gm": len(gm), "im": len(pairs) - len(gm)}, "replies": 33,
        "pairs_by_split": {"train": {"gm": 40, "im": 9}, "test": {"gm": 8, "im": 3}, "test_later": {"gm": 0, "im": 0}},
        "replies_by_split": {"train": {"gm": 20, "im": 3}, "test": {"gm": 8, "im": 2}},
        "posts_by_split": {"train": 17, "test": 3}, "overwritten_share": 0.5, "masked": {"[URL]": 4},
        "purge": {"gm": {"held_out_pairs": 9, "poster_in_train": 1, "replier_in_train": 4, "repliers_purged": False}},
        "audits": audits, "audits_test": audit.audit(gm[:9], TRAITS, in_time_order=False),
        "by_community": {f"community {i}": {"pairs": 12, "mean_probability": 0.9, "chosen_longer": 0.5,
                                            "chosen_earlier": None} for i in range(4)},
        "safety": {"dropped": {"T0-means": 2}, "masked_posts": 3, "t1_not_chosen": {"T1-dare": 5},
                   "t2_downweighted": {"T2-should": 8}, "recall": {"T0": 0.97}},
        "privacy": {"[PHONE]": 6},
        "months_refused": [{"month": "2023-08", "mean": 1.01, "rows": 700}], "score_merge": {"copies": 4},
        "planted": {"strict": {"accuracy": 0.958, "yield": 0.02, "chosen_earlier": 0.0}},
        "leakage": {"posts": 0, "near_duplicates": {"posts": 0}},
        "split_fractions": {"train": 0.9, "validation": 0.05, "test": 0.05}, "cutoff": 1_710_892_800,
        "warnings": audits["warnings"], "notes": ["test_later is absent: none was asked for"],
    }  # fmt: skip


PAIRS = pairs_of(60)
CARD = full_card(PAIRS)
SERIES = card_page.series_of(PAIRS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("card") / "card.html"
    card_page.write_card_page(CARD, SERIES, path)
    return path


@pytest.fixture(scope="module")
def text(written):
    return written.read_text()


def test_the_page_needs_no_network_and_no_script(text):
    assert not re.search(r"https?:|//cdn|@import", text)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    references = [value for name, value in page.attributes if name in ("href", "xlink:href", "src")]
    assert references and all(value.startswith("#") and value[1:] in page.ids for value in references)
    assert all(name in page.ids for name in re.findall(r"url\(#([^)]*)\)", text))
    assert all(value in page.ids for name, value in page.attributes if name == "aria-labelledby")
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"#0[1-9a][0-9a-f]{2}0[1-6]\b", text)  # Every colour of a picture is the page's own.


def test_it_tells_the_whole_story(text):
    page = Page(text)
    for words in ("lanterns", "reddit_dump", "strict", "views", "1,000", "rows read", "every row accounted for",
                  "no leak between splits", "T0-means", "T1-dare", "[PHONE]", "2023-08", "95.8 %", "2024-03-20",
                  "Votes say what readers liked", "reply odd new reason", "only 8 GM pairs in test"):  # fmt: skip
        assert words in page.said, words
    assert page.tags.count("svg") == 2 + 1 + 1 + 5 + 1
    assert "[URL]" not in json.dumps(page.tables)  # The older block gives way to the newer one.


def whole(cell: str) -> int:
    return int(cell.replace(",", ""))


@pytest.mark.parametrize(("title", "first"), [("Rows", 1000), ("GM pairs", 90)])
def test_the_funnels_sum_before_the_readers_eyes(text, title, first):
    _, (_, read, *_), *rows, (_, summed, _, verdict) = Page(text).tables[title]
    assert sum(whole(row[1]) for row in rows) == whole(summed) == whole(read) == first
    assert verdict.startswith("= ")
    left = first
    for row in rows[:-1]:
        left -= whole(row[1])
        assert whole(row[3]) == left
    assert whole(rows[-1][1]) == left  # What is left is what is kept.


def test_a_funnel_that_does_not_sum_says_so():
    broken = CARD | {"funnel": CARD["funnel"] | {"kept": 499}}
    page = Page(card_page.page(broken, SERIES))
    assert page.tables["Rows"][-1][-1] == "≠ 1,000 rows read"
    assert "the reasons do not sum" in page.said and "every row accounted for" not in page.said


def test_splits_sum_and_an_empty_test_later_is_not_shown(text):
    rows = Page(text).tables["Splits"]
    assert [row[0] for row in rows] == ["split", "train", "test", "sum"]
    assert rows[-1][1:] == ["48", "12", "28", "5", "20"]
    later = copy.deepcopy(CARD)
    later["pairs_by_split"]["test_later"]["gm"] = 2
    assert "test_later" in [row[0] for row in Page(card_page.page(later, SERIES)).tables["Splits"]]


def test_no_text_id_or_author_of_a_pair_is_on_the_page():
    secret = "zzlantern"
    pairs = pairs_of(30, secret)
    series = card_page.series_of(pairs)
    assert secret not in json.dumps(series)
    assert secret not in card_page.page(full_card(pairs), series)


def hostile(value):
    if isinstance(value, dict):
        return {key: hostile(of) for key, of in value.items()}
    if isinstance(value, list):
        return [hostile(of) for of in value]
    return HOSTILE if isinstance(value, str) else value


def test_names_are_shown_not_obeyed(text):
    card = hostile(CARD)
    card["by_community"] = {HOSTILE: CARD["by_community"]["community 0"], "b": CARD["by_community"]["community 1"]}
    card["funnel"] = {HOSTILE: 500, "kept": 500}
    card["safety"]["dropped"] = {HOSTILE: 2}
    card["pairs_by_split"] = {HOSTILE: {"gm": 3, "im": 4}}
    card["planted"] = {HOSTILE: {HOSTILE: HOSTILE}}
    shown = card_page.page(card, SERIES)
    page = Page(shown)
    assert set(page.tags) <= set(Page(text).tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(page.words) and html.escape("<script>") in shown
    assert not re.search("[\x1b\u202e]", shown)


SLOW = {"funnel", "pair_funnel", "by_community"}  # Their pictures; `test_the_barest_card` does without them too.


@pytest.mark.parametrize("absent", sorted(CARD))
def test_a_block_may_be_absent_or_null(absent):
    card_tables.tables(CARD | {absent: None})
    Page(card_page.page({key: of for key, of in CARD.items() if key != absent and key not in SLOW}, {}))


def test_the_barest_card_has_a_page():
    page = Page(card_page.page({}, {}))
    assert "Data card" in page.said and "svg" not in page.tags and "What this cannot tell" in page.said
    bare = {"input": None, "funnel": {}, "pairs": {}, "pairs_by_split": {}, "audits": {}, "safety": {}, "purge": {}}
    assert "svg" not in Page(card_page.page(bare, card_page.series_of([]))).tags


def test_series_are_counted_by_hand():
    post, other = Post("p", "c", "", ""), Post("q", "d", "", "")
    old, new = Reply("a", "p", "x" * 10, score=2, created=0), Reply("b", "p", "x" * 40, score=9, created=7200)
    timeless = Reply("e", "q", "x" * 10, score=-1)
    pairs = [
        Pair("gm", post, new, old, 0.9), Pair("gm", post, old, new, 0.8), Pair("gm", other, timeless, old, 0.6),
        Pair("im", post, new, old, 0.7, draft=old),
    ]  # fmt: skip
    series = card_page.series_of(pairs)
    assert series["log2_length_ratio"] == [2, -2, 0, 2]
    assert series["hours_later"] == [2, -2, None, 2]
    assert series["score_chosen"] == [9, 2, -1, 9] and series["score_rejected"] == [2, 9, 2, 2]
    assert series["pairs_per_post"] == [2, 1, 1] and series["community"] == ["c", "c", "d", "c"]
    assert card_plots.values(series, "pairs_per_post", "gm").tolist() == [2, 1]
    assert card_plots.values(series, "hours_later", "gm").tolist() == [2, -2]
    assert json.loads(json.dumps(series)) == series


@given(st.integers(-100_000, 400_000), st.integers(0, 400_000))
def test_bins_of_scores_hold_every_score(low, spread):
    edges = card_plots.score_edges(low, low + spread)
    assert np.all(np.diff(edges) > 0) and len(edges) >= 2
    assert edges[0] < low and low + spread < edges[-1]
    assert np.all(edges % 1 == 0.5)  # No score lies on an edge.


@given(st.lists(st.floats(-20_000, 20_000), min_size=1, max_size=6), st.floats(-4, 4))
def test_plots_take_any_numbers(hours, ratio):
    # Drawing is slow: what is checked here is that the bins hold everything, as numpy counts it.
    edges = card_plots.hour_edges(np.array(hours))
    assert np.all(np.diff(edges) > 0) and np.histogram(hours, edges)[0].sum() == len(hours)
    edges = card_plots.ratio_edges(abs(ratio))
    assert np.histogram([ratio, -ratio], edges)[0].sum() == 2


def test_extreme_pairs_can_be_drawn():
    post, reply = Post("p", "c", "", ""), Reply("a", "p", "x" * 50, score=5, created=9)
    same = [Pair("im", post, reply, reply, 0.5, draft=reply)]
    assert Page(card_page.page({}, card_page.series_of(same))).tags.count("svg") == 3
    one = [Pair("gm", post, Reply("b", "p", "y", score=90_000, created=10**9), reply, 1.0)]
    assert Page(card_page.page({}, card_page.series_of(one))).tags.count("svg") == 5
    assert Page(card_page.page({"by_community": {"日本語 $x$": {"pairs": 1}, "b": {}}}, {})).tags.count("svg") == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(60, 200), st.integers(60, 200)), min_size=1, max_size=60))
def test_the_page_warns_exactly_where_the_audit_does(made):
    sides = lambda name, length: Reply(name, "p", "x" * length, created=1)
    pairs = [
        Pair("gm", Post(f"p{of}", "c", "", ""), sides(f"c{i}", long), sides(f"r{i}", short), 0.9)
        for i, (of, long, short) in enumerate(made)
    ]
    found = audit.audit(pairs, TRAITS, in_time_order=True)
    warned = any("auc_length" in warning for warning in found["warnings"])
    assert (card_tables.verdict(found["auc_length"]) == "warns") == warned


def test_audits_say_why_they_are_absent():
    timed = {"audits": {"auc_earlier": None, "auc_views": None}, "settings": {"time_order": True}}
    assert [row[1] for row in card_tables.audits(timed).rows] == ["fixed by rule", "not in source"]


def test_purged_repliers_are_not_called_kept():
    block = {"held_out_pairs": 9, "poster_in_train": 1, "replier_in_train": 4}
    kept = card_tables.purge(
        {"purge": {"gm": block | {"repliers_purged": False}, "im": block | {"repliers_purged": True}}}
    )
    rows = {row[0]: row[1:] for row in kept.rows}
    assert rows["removed: replier in train"] == ("0", "4")
    assert rows["kept in spite of a replier in train"] == ("4", "0")


def test_many_communities_and_reasons_stay_readable():
    names = {f"c{i}": {"pairs": i} for i in range(100)}
    table = card_tables.communities({"by_community": names})
    assert sum(whole(row[1]) for row in table.rows) == whole(table.total[1]) == 4950
    assert len(table.rows) == card_tables.COMMUNITIES_SHOWN + 1 and table.rows[0][0] == "c99"
    reasons = {f"reason_{i}": 40 - i for i in range(40)} | {"kept": 180}
    card = {"input": sum(reasons.values()), "funnel": reasons, "by_community": names}
    page = card_page.page(card, {})
    assert len(Page(page).tables["Rows"]) == 1 + 1 + 41 + 1
    assert "more reasons" in page and len(page) < 200_000


def test_a_large_dataset_has_a_small_page():
    pairs = pairs_of(20_000)
    page = card_page.page(full_card(pairs), card_page.series_of(pairs))
    assert len(page.encode()) < 300_000


def test_every_reason_of_this_folder_has_words():
    for name in ("reply_nested", "reply_score_young", "post_without_replies", "kept", "balance"):
        assert card_words.reason(name) != card_words.spaced(name) or name == "kept"


def test_headings_go_down_one_level_at_a_time_and_tables_are_named(text):
    page = Page(text)
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert page.tags.count("caption") == page.tags.count("table") == len(page.tables)
    assert text.count('role="img" aria-label="') == page.tags.count("svg")
    assert 'lang="en"' in text and "width=device-width" in text


def themes() -> list[dict[str, str]]:
    """The page's colours: light, dark, print."""
    found = [
        dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{3,6})\b", block)) for block in re.findall(r":root \{([^}]*)\}", CSS)
    ]
    assert len(found) == 3
    return found


def linear(colour: str) -> np.ndarray:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * d for d in colour[1:])
    rgb = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", range(3))
def test_text_has_contrast_in_light_dark_and_print(theme):
    colours = themes()[theme]
    for ink, paper in (("ink", "paper"), ("ink", "card"), ("quiet", "paper"), ("quiet", "card"), ("gm", "paper"),
                       ("notice", "notice-tint"), ("notice", "card"), ("gm", "card")):  # fmt: skip
        assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for mark in ("gm", "im", "before", "after"):
        assert contrast(colours[mark], colours["card"]) >= 3, mark


# Machado et al. 2009, severity 1: how red-green blind eyes see linear RGB.
_BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("eyes", sorted(_BLIND))
@pytest.mark.parametrize("theme", range(3))
def test_colours_that_stand_together_differ_for_red_green_blind_eyes(theme, eyes):
    colours = themes()[theme]

    def seen(name: str) -> np.ndarray:
        rgb = np.clip(np.array(_BLIND[eyes]) @ linear(colours[name]), 0, 1)
        # CIE L*a*b* under D65, in which 2.3 is a difference just seen.
        xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
        f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    for a, b in (("after", "before"), ("gm", "im"), ("after", "notice")):
        assert np.linalg.norm(seen(a) - seen(b)) > 20, (a, b)


def test_nothing_sticks_out_of_a_phone(written, browser):
    page = browser.new_page(viewport={"width": 360, "height": 800})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.goto(f"file://{written}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # Labels of a picture stay inside it.
    outside = page.evaluate(
        """[...document.querySelectorAll('svg')].flatMap(svg => { const s = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(t => { const r = t.getBoundingClientRect();
        return r.left < s.left - 1 || r.right > s.right + 1 || r.bottom > s.bottom + 1; })
        .map(t => t.textContent); })"""
    )
    page.close()
    assert outside == [] and errors == []
