from data_pipelines import revisions
from data_pipelines.records import Pair, Post, Reply, Thread

POST = Post("p", "c", "t", "b")
ALIKE = {("draft", "target"): 0.5, ("draft", "other"): 0.1, ("draft", "near"): 0.6, ("draft", "low"): 0.0}


class Table:
    """A similarity read from a table, the order of the two texts being of no matter."""

    name, threshold = "table", 0.4

    def cosine(self, a: str, b: str) -> float:
        first, second = a.split()[0], b.split()[0]
        return ALIKE.get((first, second), ALIKE.get((second, first), 0.0))


def reply(name: str, score: int, length: int = 100) -> Reply:
    return Reply(name, "p", f"{name} ".ljust(length, "x"), score=score)


def preference(chosen: Reply, rejected: Reply) -> Pair:
    return Pair("gm", POST, chosen, rejected, 0.95)


def test_a_revision_is_alike_and_at_most_twice_as_long():
    draft = reply("draft", 1)
    assert revisions.revisions([preference(reply("target", 30, 200), draft)], Table())
    assert not revisions.revisions([preference(reply("target", 30, 201), draft)], Table())
    assert not revisions.revisions([preference(reply("other", 30), draft)], Table())


def made(*others: Reply) -> list[Pair]:
    draft, target = reply("draft", 1), reply("target", 30)
    thread = Thread(POST, (draft, target, *others))
    return revisions.candidates([preference(target, draft)], [thread], Table(), lambda pair: 0.0)


def test_rejected_is_the_draft_and_the_least_alike_of_those_voted_no_lower():
    plain, overwritten = made(reply("low", 0), reply("other", 9), reply("near", 9), reply("above", 31))
    assert (plain.draft.id, plain.chosen.id, plain.rejected.id, plain.source) == ("draft", "target", "draft", "votes")
    assert (overwritten.draft.id, overwritten.chosen.id, overwritten.rejected.id) == ("draft", "target", "other")
    assert overwritten.source == revisions.OVERWRITTEN
    assert {plain.task, overwritten.task} == {"im"}


def test_without_a_less_alike_reply_only_the_draft_is_rejected():
    assert [pair.source for pair in made(reply("near", 9))] == ["votes"]


def im(name: str, source: str, post: str, longer: bool) -> Pair:
    chosen, rejected = (reply(f"{side}{name}", 1, 100 + 20 * (longer == (side == "c"))) for side in "cr")
    return Pair("im", Post(post, "c", "t", "b"), chosen, rejected, 0.9, draft=rejected, source=source)


def test_at_least_half_are_over_written():
    found = [im(str(i), "votes", f"p{i}", i % 2 == 0) for i in range(40)]
    found += [im(f"o{i}", revisions.OVERWRITTEN, f"p{i}", i % 2 == 0) for i in range(10)]
    left = revisions.balanced(found, lambda pair: 0.0)
    assert sum(pair.source == revisions.OVERWRITTEN for pair in left) == 10
    assert len(left) == 20
    longer = sum(pair.length_ratio > 1 for pair in left)
    assert longer == 10
