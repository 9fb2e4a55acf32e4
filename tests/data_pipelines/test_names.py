from data_pipelines.names import mask_names
from data_pipelines.records import Post, Reply, Thread


def thread(poster: str | None, body: str, *replies: tuple[str | None, str]) -> Thread:
    rows = (Reply(str(i), "p", text, author=author) for i, (author, text) in enumerate(replies))
    return Thread(Post("p", "c", "a title", body, author=poster), tuple(rows))


def texts(masked: Thread) -> list[str]:
    return [masked.post.body, *(reply.text for reply in masked.replies)]


def test_people_of_the_thread_are_masked_whole_and_in_any_case():
    found = thread(
        "JohnDoe123",
        "Edit: thank you, margaret",
        ("Margaret", "thanks JOHNDOE123, and not JohnDoe1234"),
        ("rose_b", "rose_b and rose, [rose_b] too"),
        ("Ann", "Ann and elsewhere_9"),
        (None, "nobody"),
    )
    assert texts(mask_names([found])[0]) == [
        "Edit: thank you, [USER]",
        "thanks [USER], and not JohnDoe1234",
        "[USER] and rose, [[USER]] too",
        "Ann and elsewhere_9",
        "nobody",
    ]


def test_common_words_and_numbers_are_no_names():
    others = [thread("x_1", "there is hope yet"), thread("x_2", "I hope so")]
    found = thread("hope", "I hope for 2024", ("2024", "Hope is hard"), ("user", "see [USER]"))
    assert mask_names([found, *others])[0] == found


def test_a_name_used_in_its_own_threads_stays_a_name():
    found = [thread("margaret", "hello", ("x_1", f"Dear Margaret, {i}")) for i in range(5)]
    assert all("Dear [USER]" in masked.replies[0].text for masked in mask_names(found))
