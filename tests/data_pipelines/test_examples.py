from data_pipelines import examples
from data_pipelines.records import Pair, Post, Reply, Thread
from data_pipelines.selection import Selected


def reply(name: str, score: int) -> Reply:
    return Reply(name, "p", f"text {name}", score=score)


def test_the_high_replies_of_a_thread_in_their_order():
    thread = Thread(Post("p", "c", "t", "b"), (reply("a", 12), reply("b", 40), reply("c", 30)))
    found = examples.gm_examples([Selected(thread, "train", [], [1, 2], [(), (), ("T2-template",)], b"", [])])
    assert [(example.reply.id, example.weight) for example in found] == [("b", 1.0), ("c", 0.5)]
    assert all(example.task == "gm" and example.draft is None for example in found)


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
