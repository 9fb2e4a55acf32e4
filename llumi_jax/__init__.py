"""Writing assistants for online peer support, learned from a community's own votes, in JAX."""

__version__ = "0.1.0"
