"""Pure functions from hidden states to log-probabilities and from those to losses."""
