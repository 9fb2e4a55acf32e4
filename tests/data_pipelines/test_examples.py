from data_pipelines import examples
from data_pipelines.confidence import Prior
from data_pipelines.examples import MIN_CELL, Standing
from data_pipelines.records import Pair, Post, Reply, Thread
from data_pipelines.sources import counselchat, reddit_dump

YEARS = {2020: 1_590_000_000, 2021: 1_620_000_000}


def reply(name: str, score: int, year: int = 2020, **changes) -> Reply:
    return Reply(name, "p", f"text {name}", **({"score": score, "created": YEARS[year], "score_age": 10**6} | changes))


def thread(*replies: Reply, post: str = "p") -> Thread:
    return Thread(Post(post, "c", "t", "b"), replies)


def test_percentiles_are_those_of_the_cell_or_of_all_if_it_is_small():
    train = [
        thread(*(reply(str(i), i % 100) for i in range(MIN_CELL))),
        thread(*(reply("x", 1000, 2021) for _ in range(5))),
    ]
    standing = Standing.fit(train, reddit_dump.TRAITS, Prior())
    assert standing.pooled_cells == 1
    post = train[0].post
    assert standing.is_high(post, reply("a", 80)) and not standing.is_high(post, reply("b", 78))
    # The small year is measured with everybody's percentile, which its own scores hardly move.
    assert standing.is_high(post, reply("c", 81, 2021)) and not standing.is_high(post, reply("d", 70, 2021))


def test_nobody_is_high_without_a_vote():
    standing = Standing.fit([thread(*(reply(str(i), 1) for i in range(20)))], reddit_dump.TRAITS, Prior())
    assert not standing.is_high(Post("p", "c", "t", "b"), reply("a", 1))
    assert standing.is_high(Post("p", "c", "t", "b"), reply("a", 2))


def test_views_count_where_they_are_known():
    standing = Standing(counselchat.TRAITS, Prior(1.5, 565), {("all",): 0.003}, 0)
    few, many = (reply("a", 1, views=views, created=None, score_age=None) for views in (50, 5000))
    assert standing.rate(few) == (1 + 1.5) / (50 + 565)
    assert standing.is_high(Post("p", "c", "t", "b"), few) and not standing.is_high(Post("p", "c", "t", "b"), many)


def test_at_most_two_a_post_the_best_first_and_nothing_masked():
    standing = Standing(reddit_dump.TRAITS, Prior(), {("all",): 10.0}, 0)
    masked = Reply("m", "p", "see [URL]", score=99, created=YEARS[2020], score_age=10**6)
    found = examples.gm_examples(
        [thread(reply("a", 12), reply("b", 40), reply("c", 30), reply("d", 9), masked)], standing
    )
    assert [example.reply.id for example in found] == ["b", "c"]
    assert all(example.task == "gm" and example.weight == 1 and example.draft is None for example in found)


def test_revisions_become_examples_with_their_draft():
    post = Post("p", "c", "t", "b")
    pairs = [
        Pair("gm", post, reply(target, 9), reply(draft, 1), probability)
        for target, draft, probability in (("t1", "d1", 0.9), ("t2", "d1", 0.95), ("t1", "d2", 0.8), ("t1", "d3", 0.7))
    ]
    found = examples.im_examples(pairs, lambda pair: 0.0)
    assert [(example.reply.id, example.draft.id, example.weight) for example in found] == [
        ("t2", "d1", 0.5),
        ("t1", "d2", 0.5),
    ]
