"""One file per raw format. Each has TRAITS and `read(…) -> Iterator[Post | Reply]`, posts before their replies."""

from data_pipelines.sources import counselchat, reddit_dump

TRAITS = {source.TRAITS.name: source.TRAITS for source in (reddit_dump, counselchat)}
