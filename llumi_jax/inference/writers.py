"""The two writers, loaded: which weights speak as GM and as IM, under which name, and how they are asked."""

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from llumi_jax import prompts
from llumi_jax.cli import UserError
from llumi_jax.inference.engine import Engine, Request
from llumi_jax.inference.sampling import Sampling
from llumi_jax.safety import banner

if TYPE_CHECKING:
    from llumi_jax.interchange.sources import LoadedModel

ROLES = ("gm", "im")


@dataclasses.dataclass(frozen=True)
class Post:
    """A post that somebody wrote, and the draft of a reply where there is one. Texts as typed, never empty bodies."""

    id: str | int
    title: str
    body: str
    draft: str = ""


@dataclasses.dataclass(frozen=True)
class Writer:
    """One role's model. `weights` is the SHA-256 of all that shapes its text; `num_params` leaves adapters out."""

    role: str
    name: str
    engine: Engine
    adapter: str | None
    weights: str
    num_params: int
    max_prompt_tokens: int | None = None

    @property
    def banner(self) -> str | None:
        """The fixed warning of a model too small to be of use to anyone in need."""
        return banner.for_parameters(self.num_params)

    def request(self, post: Post, draft: str, sampling: Sampling, seed: int) -> Request:
        """Asks for a reply to `post` (GM) or for the revision of `draft` (IM).

        Raises:
          ValueError: title and draft alone leave no room for a reply.
        """
        room = self.engine.config.max_position - sampling.max_tokens
        limit = min(room, self.max_prompt_tokens or room)
        draft = draft if self.role == "im" else ""
        ids = prompts.prompt_ids(self.engine.tokenizer, self.role, post.title, post.body, draft, max_tokens=limit)
        return Request(tuple(ids), sampling, seed)


def load(specs: dict[str, str], dtype: str = "float32", smallest_capacity: int = 0) -> dict[str, Writer]:
    """Loads the writers of `specs`, by role. Two adapters on one base share its weights in memory.

    Raises:
      UserError: a spec cannot be loaded, was trained for the other role, or with other words in its prompt.
    """
    from llumi_jax.interchange import sources

    models = dict(zip(specs, sources.load_models(list(specs.values()), dtype=dtype), strict=True))
    engines: dict[int, tuple[Engine, str]] = {}
    writers = {}
    for role, model in models.items():
        _check(role, specs[role], model.manifest)
        if id(model.params) not in engines:
            engines[id(model.params)] = _engine(model, smallest_capacity), fingerprint(model.params)
        engine, weights = engines[id(model.params)]
        if model.lora is not None:
            engine.add_adapter(role, model.lora, model.lora_scale)
            weights = hashlib.sha256(f"{weights} {fingerprint(model.lora)} {model.lora_scale!r}".encode()).hexdigest()
        writers[role] = Writer(
            role=role,
            name=model.manifest["name"],
            engine=engine,
            adapter=role if model.lora is not None else None,
            weights=weights,
            num_params=model.num_params,
            max_prompt_tokens=model.manifest.get("max_prompt_tokens"),
        )
    return writers


def fingerprint(tree: Any) -> str:
    """SHA-256 over every array's path, type, shape and bytes."""
    import jax
    import numpy as np

    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array: Any = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _engine(model: "LoadedModel", smallest_capacity: int) -> Engine:
    stops = {prompts.end_of_turn_id(model.tokenizer)}
    eos = (model.manifest.get("token_ids") or {}).get("eos_token_id")
    stops |= {int(i) for i in (eos if isinstance(eos, list) else [eos]) if i is not None}
    return Engine(model.config, model.params, model.tokenizer, sorted(stops), smallest_capacity=smallest_capacity)


def _check(role: str, spec: str, manifest: dict[str, Any]) -> None:
    trained = manifest.get("role")
    if trained is not None and trained != role:
        raise UserError(f"{spec} was trained as {trained}, not as {role}. Give it as --{trained}.")
    version = manifest.get("prompt_version")
    if version is not None and version != prompts.VERSION:
        raise UserError(
            f"{spec} was trained with prompt version {version}, this program asks in version {prompts.VERSION}. "
            "Use the program's version that trained it, or train it again."
        )
