"""Word differences: both texts can be read off the marks, and the marks can be read."""

import random

from demo.differences import ADDED, REMOVED, differences, share_kept


def read(spans, *kinds):
    return "".join(text for text, kind in spans if kind in kinds)


def test_marks_what_changed():
    assert differences("You should go now.", "You could go now.") == [
        ("You ", None),
        ("should ", REMOVED),
        ("could ", ADDED),
        ("go now.", None),
    ]


def test_both_texts_can_be_read_off_the_marks():
    r = random.Random(0)
    words = ["I", "hear", "you.", "\n", "ünï", "😊", "not", "alone", "  "]
    for _ in range(200):
        before, after = (" ".join(r.choices(words, k=r.randint(0, 30))) for _ in range(2))
        spans = differences(before, after)
        assert read(spans, None, ADDED).split() == after.split()
        assert read(spans, None, REMOVED).split() == before.split()


def test_line_breaks_of_the_revision_stay():
    before, after = "One two. Three four.", "One two.\n\nThree four five."
    assert read(differences(before, after), None, ADDED) == after


def test_a_lone_word_between_long_changes_is_not_shown_as_kept():
    before = "we all go through hard times to be happy again in the end"
    after = "what you describe sounds heavy to carry for so many long weeks"
    assert [kind for _, kind in differences(before, after)] == [REMOVED, ADDED]


def test_same_and_empty():
    assert differences("a b", "a b") == [("a b", None)]
    assert differences("", "") == []
    assert differences("", "new") == [("new", ADDED)]


def test_share_kept():
    assert share_kept("one two three four", "one two three 4") == 0.75
    assert share_kept("", "anything") == 1.0
