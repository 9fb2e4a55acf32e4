"""Runs share the reference's sweep, and refuse one of another base, template, data or length by its name."""

import json
import shutil

import pytest

from tests import tiny_run

train = tiny_run.train  # a fixture
_STAGE = 'stage("gm", "dpo", steps=2, learning_rate=1e-3, evaluate=False)'
EIGHT = "--config.batch_rows=8"  # a row for each of the eight devices of a test's own process


@pytest.fixture(scope="module")
def one(train, tmp_path_factory):
    return train.with_stages(tmp_path_factory.mktemp("config") / "one.py", _STAGE)


@pytest.fixture(scope="module")
def first(one, tmp_path_factory):
    """(cache, work directory of a run that filled it)"""
    folder = tmp_path_factory.mktemp("first")
    return folder / "cache", one.finish(folder / "work", f"--config.reference_cache={folder / 'cache'}")


def swept(work) -> int:
    return json.loads((work / "gm_dpo" / "reference" / "reference.json").read_text())["done"]


@pytest.mark.parametrize("flags", [(), ("--config.seed=1", "--config.lora.rank=2")], ids=["same", "another adapter"])
def test_the_second_run_sweeps_nothing(one, first, tmp_path, flags):
    """Also under another adapter: one that starts at zero is the base, whatever its rank and its seed."""
    cache, work = first
    done = one.run(tmp_path / "work", f"--config.reference_cache={cache}", *flags)
    assert done.returncode == 0, done.stderr
    assert "gm_dpo: reference: log-probabilities of an earlier run" in done.stdout
    assert swept(tmp_path / "work") == swept(work) and len(list(cache.glob("*.npy"))) == 1
    losses = tiny_run.losses(tmp_path / "work", "gm_dpo")
    assert losses[1] == pytest.approx(0.693147, abs=1e-5)
    if not flags:
        assert tiny_run.digests(tmp_path / "work", ["gm_dpo"]) == tiny_run.digests(work, ["gm_dpo"])


@pytest.fixture
def refused(one, first, tmp_path, capsys):
    """refused(*flags): the line that a run says which was given the first one's reference."""
    given = f"--config.stage.gm_dpo.reference_from={first[1] / 'gm_dpo' / 'reference'}"

    def run(*flags: str) -> str:
        line = one.mistake(capsys, *one.arguments(tmp_path / "work", EIGHT, given, *flags))
        assert "holds log-probabilities of another" in line and "Leave reference_from empty" in line
        assert not (tmp_path / "work" / "gm_dpo").exists()
        return line.partition("of another ")[2]

    return run


def test_another_base_is_refused(refused, tmp_path):
    other = tiny_run.save_base(tmp_path / "base", initializer_range=0.2)
    line = refused(f"--config.base={other}")
    assert line.startswith("base (its weights): there ") and "; " not in line


def test_another_template_is_refused(refused, one, tmp_path):
    other = shutil.copytree(one.base, tmp_path / "base")
    path = other / "chat_template.jinja"
    path.write_text("{{ '<|endoftext|>' }}" + path.read_text())
    line = refused(f"--config.base={other}")
    assert line.startswith("chat template: there ") and "; " not in line


def test_other_data_are_refused(refused, tmp_path):
    other = tiny_run.save_dataset(tmp_path / "data", words=12)
    assert refused("--data_dir", str(other)).startswith("wording of the data (its tokens): there ")
    fewer = tiny_run.save_dataset(tmp_path / "fewer", threads=40)
    assert refused("--data_dir", str(fewer)).startswith("data (its posts, replies or labels): there ")


@pytest.mark.parametrize(("key", "there", "here"), [("max_prompt_tokens", 200, 150), ("row_length", 256, 512)])
def test_another_length_is_refused(refused, key, there, here):
    line = refused(f"--config.{key}={here}")
    assert line.startswith(f"length, config.{key}: there {there}, here {here}") and "; " not in line


def test_a_work_directory_is_held_to_what_it_began_with(one, first, tmp_path, capsys):
    """The same config, whose words now stand for other weights."""
    work = shutil.copytree(first[1], tmp_path / "work")
    (work / "gm_dpo" / "done.json").unlink()
    base = shutil.copytree(one.base, tmp_path / "base")
    config = json.loads((work / "config.json").read_text())
    (work / "config.json").write_text(json.dumps(config | {"base": str(base), "batch_rows": 8}))
    tiny_run.save_base(base, initializer_range=0.2)
    line = one.mistake(capsys, *one.arguments(work, EIGHT, f"--config.base={base}"))
    assert f"{work / 'gm_dpo'} was begun with another base (its weights): there " in line and "Bring that back" in line
