"""What a run will need, reckoned by hand: memory, traffic, time, and what to change where it is short."""
