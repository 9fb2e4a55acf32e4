"""Several processes, on one host or on many, as one run: joining, agreeing, and ending together."""
