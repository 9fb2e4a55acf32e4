"""The products that utilisation is measured against."""

import pytest

from benchmarks import matmul

SIZES = {"D": 6, "F": 10, "V": 11, "H": 4, "K": 2, "N": 5}


def test_every_product_of_a_step_is_there():
    """By hand: each matrix [i, o] meets n tokens, its gradient and the tokens' gradient."""
    matrices = [(6, 20), (6, 10), (20, 6), (6, 10), (10, 6)]
    wanted = {size for i, o in matrices for size in ((13, i, o), (13, o, i), (i, 13, o))}
    wanted |= {(3, 6, 11), (3, 11, 6), (6, 3, 11)}
    found = [product[1:] for product in matmul.products(SIZES, 13, 3)]
    assert set(found) == wanted and len(found) == len(wanted)


def test_the_best_rate_is_that_of_the_quickest_shape(monkeypatch):
    """Every product takes a second, those with the output matrix a thousandth."""
    monkeypatch.setattr(matmul, "_quickest", lambda once: once())
    rate, name = matmul.best(SIZES, 13, 3, lambda n, i, o: lambda: 1e-3 if (n, i, o) == (3, 6, 11) else 1.0)
    assert rate == pytest.approx(2 * 3 * 6 * 11 / 1e-3) and name == "head"


def test_products_run_in_both_libraries():
    for make in (matmul.jax_run, matmul.torch_run):
        once = make("float32")(8, 4, 2)
        once()
        assert matmul._quickest(once, repeats=1, least=0.0) > 0


def test_sizes_are_read_from_a_config():
    values = {"hidden_size": 6, "intermediate_size": 10, "vocab_size": 11, "num_attention_heads": 4}
    values |= {"num_key_value_heads": 2, "head_dim": 5}
    assert matmul.sizes_of(values) == SIZES
