"""Writing with trained weights: sampling, the engine with its KV cache, and the GM -> IM cascade."""
