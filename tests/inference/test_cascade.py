"""The cascade with a real engine, and with hooks that object."""

import pytest

from llumi_jax.inference import cascade as module
from llumi_jax.inference.cascade import ATTEMPTS, WITHHELD, Cascade, item_seed
from llumi_jax.inference.events import Cleared, Ended, Finding, Hooks, Said, Triaged
from llumi_jax.inference.sampling import Sampling
from llumi_jax.inference.writers import Post, Writer
from llumi_jax.safety.banner import TEXT as BANNER

HOT = Sampling(temperature=1.0, max_tokens=16)
POSTS = [Post(f"p{i}", "Title", f"I feel like number {i} today.", "You are not alone.") for i in range(5)]


@pytest.fixture(scope="module")
def writers(engine):
    def writer(role, size=10):
        return Writer(role, role, engine, role, "0" * 64, size)

    return {"gm": writer("gm"), "im": writer("im")}


def play(cascade, post, **kwargs):
    """What a person has on the screen at the end, by role, and the replies."""
    shown, replies = {}, {}
    for event in cascade.stream(post, HOT, **kwargs):
        if isinstance(event, Said):
            shown[event.role] = shown.get(event.role, "") + event.text
        elif isinstance(event, Cleared):
            shown[event.role] = ""
        elif isinstance(event, Ended):
            replies[event.reply.role] = event.reply
    return shown, replies


@pytest.mark.parametrize("mode", ["gm", "im", "cascade"])
def test_stream_and_run_come_to_the_same_replies(writers, mode):
    cascade = Cascade(writers)
    heard = []
    results = cascade.run(POSTS, HOT, 3, mode, batch_size=2, on_done=lambda: heard.append(1))
    assert len(heard) == len(POSTS) * len(module.MODES[mode])
    for post, result in zip(POSTS, results, strict=True):
        shown, replies = play(cascade, post, seed=3, mode=mode)
        assert replies == result.replies
        assert {role: text.strip() for role, text in shown.items()} == {r: x.text for r, x in replies.items()}


def test_im_revises_gms_draft_in_a_cascade_and_the_persons_in_im(writers):
    cascade = Cascade(writers)
    asked = []
    original = Writer.request

    def spy(self, post, draft, sampling, seed):
        asked.append((self.role, draft))
        return original(self, post, draft, sampling, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "request", spy)
        gm = cascade.run(POSTS[:1], HOT)[0].replies["gm"]
        cascade.run(POSTS[:1], HOT, mode="im")
    assert asked[1] == ("im", gm.text) and asked[2] == ("im", "You are not alone.")


def objecting(action, times=99, role="gm"):
    """Rules that object to the first `times` replies of a role, at their first sentence."""
    seen = []

    def output(post, about, text):
        if about != role or len(seen) >= times:
            return []
        seen.append(text)
        return [Finding("T1-test", about, "planted", action)]

    return Hooks("test", triage=lambda post: [Finding("level", "post", "passive")], output=output)


def test_a_violation_is_never_shown_and_written_anew(writers):
    plain = play(Cascade(writers), POSTS[0])[1]
    shown, replies = play(Cascade(writers, objecting("rewrite", times=1)), POSTS[0])
    assert replies["gm"].attempts == 2 and replies["gm"].text != plain["gm"].text
    assert shown["gm"].strip() == replies["gm"].text


def test_attempts_are_bounded_then_withheld_and_im_does_not_start(writers):
    hooks = objecting("rewrite")
    shown, replies = play(Cascade(writers, hooks), POSTS[0])
    assert shown == {"gm": WITHHELD} and replies["gm"].finish == "withheld" and replies["gm"].attempts == ATTEMPTS
    result = Cascade(writers, hooks).run(POSTS[:2], HOT)[0]
    assert result.replies == replies and [f.rule for f in result.findings] == ["level", "T1-test"]


def test_withhold_ends_at_once(writers):
    for replies in (
        play(Cascade(writers, objecting("withhold")), POSTS[0])[1],
        Cascade(writers, objecting("withhold")).run(POSTS[:1], HOT)[0].replies,
    ):
        assert replies["gm"].attempts == 1 and replies["gm"].text == WITHHELD


def test_nothing_is_said_before_the_rules_have_read_it(writers):
    read = []
    hooks = Hooks("spy", output=lambda post, role, text: read.append((role, text)) or [])
    said = {"gm": "", "im": ""}
    for event in Cascade(writers, hooks).stream(POSTS[1], Sampling(temperature=1.5, max_tokens=60)):
        if isinstance(event, Said):
            said[event.role] += event.text
            assert (event.role, said[event.role]) in read


def test_triage_comes_first_and_never_blocks(writers):
    events = list(Cascade(writers, objecting("note")).stream(POSTS[0], HOT))
    assert isinstance(events[0], Triaged) and events[0].findings[0].rule == "level"
    assert isinstance(events[-1], Ended) and events[-1].reply.role == "im"


def test_what_cannot_fit_is_withheld_with_a_reason(writers):
    long = Post("x", "t", "b", "draft " * 2000)
    cascade = Cascade(writers)
    for replies in (play(cascade, long, mode="im")[1], cascade.run([long], HOT, mode="im")[0].replies):
        assert replies["im"].finish == "withheld" and replies["im"].findings[0].rule == "input-too-long"


def test_closing_a_stream_stops_the_writing(writers):
    stream = Cascade(writers).stream(POSTS[0], HOT)
    for event in stream:
        if isinstance(event, Said):
            break
    stream.close()
    assert Cascade(writers).run(POSTS[:1], HOT)


def test_banner_below_a_billion_parameters(engine):
    small, large = (Writer("gm", "m", engine, "gm", "", n) for n in (999_999_999, 1_000_000_000))
    assert Cascade({"gm": small}).banner == BANNER and Cascade({"gm": large}).banner is None


def test_item_seeds_differ_by_everything():
    seeds = {
        item_seed(*x)
        for x in ((0, "a", "gm", 0), (1, "a", "gm", 0), (0, "b", "gm", 0), (0, "a", "im", 0), (0, "a", "gm", 1))
    }
    assert len(seeds) == 5
