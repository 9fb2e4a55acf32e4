"""What docs/objectives.md says of each loss is what the code does."""

import re
from pathlib import Path

from llumi_jax.objectives import preference
from llumi_jax.objectives.options import PreferenceOptions
from llumi_jax.objectives.preference import LOSSES

TEXT = (Path(__file__).parents[2] / "docs" / "objectives.md").read_text(encoding="utf-8")


def tables() -> list[list[list[str]]]:
    """Cells of every table's rows, heads left out."""
    found: list[list[list[str]]] = [[]]
    for line in TEXT.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [rows[2:] for rows in found if rows]


ROWS = {row[0].strip("`"): row for row in tables()[0]}


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_every_loss_is_in_the_table_with_its_nature():
    assert list(ROWS) == list(LOSSES)
    for name, (_, _, paper, reference, soft, keys, _) in ROWS.items():
        loss = LOSSES[name]
        assert re.search(r"arXiv:\d{4}\.\d{5}", paper), name
        assert reference == ("yes" if loss.reference else "no"), name
        assert soft == ("any" if loss.neutral else "yes" if loss.soft_labels else "no"), name
        assert names(keys) == loss.options - set(preference.ORTHOGONAL), name


def test_first_losses_are_those_of_the_table():
    said = {
        "log 2": 0.6931471805599453, "2 log 2": 1.3862943611198906, "1": 1.0, "1/(4β²)": 1 / (4 * 0.3**2),
        "1/(2β²)": 1 / (2 * 0.3**2), "(1 + log 2)/2": 0.8465735902799727, "(λ₊ + λ₋)/4": (1 + 0.6) / 4,
        "−log 2 − ½ log(ε(1 − ε)); with soft labels the data's": 0.5108256237659907 + 0.0, "the data's": None,
    }  # fmt: skip
    for name, row in ROWS.items():
        smoothing = {"exo_pair": 0.1, "robust": 0.1}.get(name, 0.0)
        options = PreferenceOptions(
            loss=name, beta=0.3, soft_labels=False, label_smoothing=smoothing, undesirable_weight=0.6
        )
        found, expected = preference.first_loss(options), said[row[6]]
        assert (found is None) == (expected is None) and (found is None or abs(found - expected) < 1e-9), name


def test_losses_of_each_orthogonal_option():
    for keys, _, losses in tables()[1]:
        key = next(name for name in re.findall(r"`(\w+)`", keys) if name in preference.ORTHOGONAL)
        able = {name for name, loss in LOSSES.items() if key in loss.options}
        if losses.startswith("all with a reference but"):
            said = {n for n, loss in LOSSES.items() if loss.reference} - names(losses)
        elif losses.startswith("all of one pair"):
            alone = {n for n, loss in LOSSES.items() if loss.reference and not loss.coupled}
            said = alone | names(losses.split(";")[1])
        else:
            said = names(losses)
        assert able == said, key


def test_coupled_losses_are_named():
    section = TEXT.split("## Losses in which pairs see each other")[1].split(".")[0]
    assert names(section) == {name for name, loss in LOSSES.items() if loss.coupled}
