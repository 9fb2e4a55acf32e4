"""What keeps people safe: what must be said, and what must not."""
