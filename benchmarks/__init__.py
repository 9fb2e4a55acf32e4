"""One command per claim; results lie in `results/`."""
