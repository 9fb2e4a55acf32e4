"""The banner: its threshold, and its one home."""

from pathlib import Path

from llumi_jax.safety import banner

ROOT = Path(__file__).parents[2]


def test_models_below_a_billion_parameters_carry_it():
    assert banner.for_parameters(999_999_999) == "Demonstration model: do not use with people in distress"
    assert banner.for_parameters(1_000_000_000) is None


def test_its_words_stand_in_one_place():
    sources = [path for top in ("llumi_jax", "demo") for path in (ROOT / top).rglob("*.py")]
    assert [path.name for path in sources if banner.TEXT in path.read_text(encoding="utf-8")] == ["banner.py"]
