"""The house keeps its shape: floors, file sizes, what the README promises, what the package asks for."""

import ast
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llumi_jax import train
from llumi_jax.training import optimizer, recipe

ROOT = Path(__file__).parents[1]
TOP = ("llumi_jax", "data_pipelines", "configs", "demo")
COMMANDS = ("train", "generate", "convert", "evaluate", "serve")
WORKSHOPS = ("training", "inference", "evaluation", "interchange")
MATERIALS = ("data", "objectives", "models", "safety", "storage", "prompts")
SOURCES = sorted(path for top in (*TOP, "tests") for path in (ROOT / top).rglob("*.py"))
PRODUCT = [path for path in SOURCES if path.relative_to(ROOT).parts[0] != "tests"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Written to be read by people or by browsers, never fetched.
HARMLESS_HOSTS = {"127.0.0.1", "localhost", "www.apache.org", "www.w3.org", "example.com", "example.org"}
# People name a post to forget by its address; the tests of that need the site's own.
HARMLESS_HOSTS |= {"reddit.com", "www.reddit.com", "old.reddit.com"}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, at any depth, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def room(name: str) -> str:
    """'llumi_jax.training.loop' -> 'training'; '' for names outside llumi_jax."""
    parts = name.split(".")
    return parts[1] if parts[0] == "llumi_jax" and len(parts) > 1 else ""


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_rooms_on_the_top_floor_do_not_know_each_other():
    wrong = [
        (where(path), name)
        for path in PRODUCT
        for name in imports(path)
        if (top := name.split(".")[0]) in TOP and top not in ("llumi_jax", path.relative_to(ROOT).parts[0])
    ]
    assert not wrong


def test_imports_point_down():
    """Commands use workshops, workshops use materials, never the other way."""
    wrong = []
    for path in PRODUCT:
        here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        above = {**dict.fromkeys(WORKSHOPS, COMMANDS), **dict.fromkeys(MATERIALS, COMMANDS + WORKSHOPS)}.get(here, ())
        wrong += [(where(path), name) for name in imports(path) if room(name) in above]
    assert not wrong


def test_every_room_is_on_a_floor():
    rooms = {path.name for path in (ROOT / "llumi_jax").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert rooms <= {*WORKSHOPS, *MATERIALS}


def test_files_are_small():
    assert not [(where(path), n) for path in SOURCES if (n := len(path.read_text("utf-8").splitlines())) > 500]


def shipped_text() -> dict[str, str]:
    """Every tracked text file of ours; outside a checkout, the sources."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    paths = [ROOT / line for line in done.stdout.splitlines()] if done.returncode == 0 else SOURCES
    texts = {}
    for path in paths:
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            texts[where(path)] = data.decode("utf-8", errors="ignore")
    return texts


def test_no_addresses_and_no_machine_paths():
    wrong = []
    for name, text in shipped_text().items():
        hosts = {host.lower() for host in re.findall(r"https?://([\w.-]+\.[a-z]{2,}|localhost)", text)}
        # Tests of the privacy rules need addresses to remove; they use the reserved names.
        reserved = {host for host in hosts if re.search(r"(^|\.)example(\.|$)|\.(invalid|test)$", host)}
        wrong += [(name, host) for host in hosts - HARMLESS_HOSTS - reserved]
        wrong += [(name, found) for found in re.findall(r"(?<![\w.])/(?:work|root|home/\w+|opt)/\w+|\.\./shared", text)]
    wrong = [(name, found) for name, found in wrong if name != "tests/test_project.py"]
    assert not wrong


def commands_of(text: str) -> list[str]:
    """Single commands of the code blocks of a Markdown text (continued lines joined, chains split)."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    parts = [part.split("#")[0].strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if re.match(r"(python|pip|pytest)\b", part)]


def modules_of(text: str) -> list[list[str]]:
    return [words[2:] for line in commands_of(text) if (words := shlex.split(line))[:2] == ["python", "-m"]]


def test_readme_has_the_two_commands():
    lines = README.splitlines()
    train = "python -m llumi_jax.train --config configs/quickstart.py --workdir runs/quickstart"
    assert f"pip install -c constraints.txt -e . && {train}" in lines
    assert 'pip install -c constraints.txt -e ".[test]" && pytest -n 2' in lines


@pytest.mark.parametrize("words", modules_of(README), ids=" ".join)
def test_readme_commands_parse(words):
    """A flag that does not exist is refused only after all that stand before it were understood."""
    done = subprocess.run(
        [sys.executable, "-m", *words, "--flag_that_is_not_there"], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "unknown argument '--flag_that_is_not_there'" in done.stderr, done.stderr


def test_readme_settings_make_recipes(monkeypatch):
    """What the README sets by flag are keys that exist, with values that are possible."""
    for words in modules_of(README):
        if words[0] == "llumi_jax.train":
            overrides = [word for word in words if word.startswith("--config.")]
            monkeypatch.setattr(sys, "argv", words)  # config flags look there for what is set
            recipe.from_config(train.read_config(words[words.index("--config") + 1], overrides))


def test_readme_config_trains_with_its_optimizer_and_schedule():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    made = recipe.from_config(names["get_config"]().to_dict())
    schedule = optimizer.make_schedule(made.schedule, total_steps=100, steps_per_epoch=10.0)
    assert [float(schedule(step)) for step in (0, 10, 69, 100)] == pytest.approx([0.0, 1e-3, 1e-3, 0.0], abs=1e-9)
    params = {"layers": {"q": {"lora_a": jnp.ones((2, 4, 3)), "lora_b": jnp.ones((2, 3, 2, 5))}}}
    chosen = optimizer.make_optimizer(made.optimizer, schedule, made.per_pattern, params)
    state = chosen.init(params)
    updates, state = chosen.update(params, state, params)
    updates, _ = chosen.update(params, state, params)  # the first step has learning rate 0
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(updates))


def test_readme_names_files_that_exist():
    named = set(re.findall(r"`((?:configs|tests|llumi_jax|data_pipelines|demo)/[\w./-]+)`", README))
    named |= set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert named and not [name for name in named if not (ROOT / name).exists()]


def pins() -> dict[str, str]:
    """Constraints that hold for this Python: name -> exact version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    chosen = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        assert requirement.url is None and not requirement.extras
        (exact,) = requirement.specifier
        assert exact.operator == "=="
        if requirement.marker is None or requirement.marker.evaluate():
            assert canonicalize_name(requirement.name) not in chosen, requirement.name
            chosen[canonicalize_name(requirement.name)] = exact.version
    return chosen


def asked_for() -> list[Requirement]:
    """What an installation with the tests needs; an extra that names another one of this package is followed."""
    project, extras = PROJECT["project"], PROJECT["project"]["optional-dependencies"]
    needs, queue = [], [Requirement(line) for line in [*project["dependencies"], *extras["test"]]]
    while queue:
        needed = queue.pop()
        if canonicalize_name(needed.name) == canonicalize_name(project["name"]):
            queue += [Requirement(line) for extra in needed.extras for line in extras[canonicalize_name(extra)]]
        elif needed.marker is None or needed.marker.evaluate():
            needs.append(needed)
    return needs


def test_constraints_pin_what_the_package_asks_for():
    pinned = pins()
    for needed in asked_for():
        version = pinned[canonicalize_name(needed.name)]
        assert needed.specifier.contains(version), f"{needed} does not allow the pinned {version}"


def test_constraints_are_complete():
    """Whatever the dependencies need in turn is pinned too (the CUDA libraries name their own exact versions)."""
    pinned, seen, queue = pins(), set(), asked_for()
    while queue:
        needed = queue.pop()
        name = canonicalize_name(needed.name)
        if (name, *sorted(needed.extras)) in seen or re.match(r"nvidia|cuda|triton", name):
            continue
        seen.add((name, *sorted(needed.extras)))
        assert name in pinned, f"{name} is needed but not pinned"
        environments = [{"extra": extra} for extra in ("", *needed.extras)]
        for line in importlib.metadata.requires(name) or []:
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate(environment) for environment in environments):
                queue.append(child)


# Import name -> distribution, where they differ.
DISTRIBUTIONS = {"absl": "absl-py", "orbax": "orbax-checkpoint", "PIL": "pillow", "yaml": "pyyaml"}


def test_what_is_imported_is_asked_for():
    """No room leans on a package that happens to be there because another one needs it."""
    asked = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    extras = PROJECT["project"]["optional-dependencies"]
    optional = {canonicalize_name(Requirement(line).name) for name in extras if name != "test" for line in extras[name]}
    known = asked | optional | {*TOP, *sys.stdlib_module_names}
    wrong = []
    for path in PRODUCT:
        for name in {name.split(".")[0] for name in imports(path)}:
            if name not in known and canonicalize_name(DISTRIBUTIONS.get(name, name)) not in known:
                wrong.append((where(path), name))
    assert not wrong
