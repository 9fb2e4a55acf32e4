"""What one device holds during a step, reckoned from sizes alone: no compiler is asked, so that advice is quick.

State (weights, moments, copies, rows) is exact: the same rules place the real arrays. The rest is what the step keeps
for its backward pass, and what it works on at one time; a compiler may fuse some of it away, or keep more.

`tensor` splits heads, feed-forward and vocabulary; where it does not divide them, they stay whole.
"""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from llumi_jax.data.packing import RowShape
from llumi_jax.models import attention
from llumi_jax.models.config import DecoderConfig
from llumi_jax.models.partitioning import BATCH_AXES, MESH_AXES
from llumi_jax.objectives.logprobs import CHUNK
from llumi_jax.training import build, sharding
from llumi_jax.training.compiled import bytes_on_a_device
from llumi_jax.training.recipe import Recipe, Stage

_STEPS = 1000  # a schedule needs some length; it changes no shape


@dataclasses.dataclass(frozen=True)
class Parts:
    """Bytes on one device. The first five are exact, and live all through the run; the others within a step."""

    base: int  # the frozen weights below an adapter
    trained: int
    moments: int  # the optimiser's state
    copies: int  # a moving average, a reference's own weights
    rows: int
    gradients: int  # and their sum over micro-batches
    kept: int  # of the forward pass for the backward pass, by `remat`
    layer: int  # the layer at work: its weights gathered, what is computed again, and gradients of all that
    logits: int  # one chunk of predictions against the output matrix, gathered
    update: int  # new weights before they replace the old

    @property
    def state(self) -> int:
        return self.base + self.trained + self.moments + self.copies

    @property
    def total(self) -> int:
        """At the fullest moment: logits, a layer's backward pass or the update, one after the other."""
        backward = self.kept + max(self.layer, self.logits)
        return self.state + self.rows + self.gradients + max(backward, self.update)


def abstract_mesh(sizes: dict[str, int]) -> AbstractMesh:
    """A mesh without devices, however many it asks for."""
    return AbstractMesh(tuple(sizes[axis] for axis in MESH_AXES), MESH_AXES)


def reckon(
    recipe: Recipe,
    stage: Stage,
    config: DecoderConfig,
    sizes: dict[str, int],
    rows: dict[str, Any],
    shape: RowShape,
    platform: str | None = None,
) -> Parts:
    """Reckons a step of `stage` on a mesh of these sizes.

    Args:
      rows: the batch as shapes (`plan.abstract_rows`); their shardings are not looked at.
      shape: of one row.
      platform: which chooses the attention backend under "auto"; None = this one.
    """
    mesh: Any = abstract_mesh(sizes)
    whole = build.abstract_trained(recipe, config)
    made = build.trainer(recipe, stage, whole, mesh, _STEPS, _STEPS)
    state = build.placed(made.abstract, made.places)
    base = _on(build.abstract_base(recipe, config), mesh) if recipe.lora is not None else 0
    trained = bytes_on_a_device(state.params)
    second = trained if stage.objective == "dpo" and stage.reference == "frozen" else 0
    work = _Work(recipe, config, sizes, shape, platform)
    many = recipe.batch_rows > recipe.micro_rows
    return Parts(
        base=base,
        trained=trained,
        moments=bytes_on_a_device(state.opt_state),
        copies=bytes_on_a_device((state.average, state.reference)) + second,
        rows=_rows(rows, mesh),
        gradients=trained * (2 if many else 1),
        kept=work.kept(),
        layer=work.layer(),
        logits=work.logits(),
        update=trained,
    )


def _on(tree: Any, mesh: Any) -> int:
    return bytes_on_a_device(build.placed(tree, sharding.tree_shardings(tree, mesh)))


def _rows(rows: dict[str, Any], mesh: Any) -> int:
    place = NamedSharding(mesh, PartitionSpec(BATCH_AXES))
    return sum(math.prod(place.shard_shape(x.shape)) * x.dtype.itemsize for x in rows.values())


class _Work:
    """Numbers of a forward pass on one device, in the dtype of computation."""

    def __init__(
        self, recipe: Recipe, config: DecoderConfig, sizes: dict[str, int], shape: RowShape, platform: str | None
    ) -> None:
        self.recipe, self.config, self.shape = recipe, config, shape
        self.rows = max(1, recipe.micro_rows // (sizes["data"] * sizes["fsdp"]))
        self.context, ways = sizes["context"], sizes["tensor"]
        self.tokens = self.rows * shape.tokens // self.context
        cut = lambda count: count // ways if count % ways == 0 else count
        self.heads, self.kv_heads = cut(config.num_heads), cut(config.num_kv_heads)
        self.forward, self.vocabulary = cut(config.intermediate_size), cut(config.vocab_size)
        self.width = jax.numpy.dtype(recipe.dtype).itemsize
        self.stored = jax.numpy.dtype(recipe.param_dtype).itemsize
        self.block = attention.resolve_backend(recipe.attention, recipe.row_length, platform) != "dense"

    def kept(self) -> int:
        """The layer's input always, and by policy the rest (`models.remat`)."""
        c, heads = self.config, self.heads * self.config.head_dim
        out = heads + 2 * self.heads if self.block else 0  # and its log-sum-exp, in float32
        named = (self.heads + 2 * self.kv_heads) * c.head_dim + 2 * self.forward
        policy = {
            "none": self._everything(),
            "products": c.hidden_size + out + named,
            "attention": c.hidden_size + out,
            "full": c.hidden_size,
            "offload": 0,
        }[self.recipe.remat]
        layers = c.num_layers * (self.tokens * policy * self.width + self._scores(self.recipe.remat == "none"))
        # Over micro-batches, embedding and output matrix are gathered once for all.
        many = self.recipe.batch_rows > self.recipe.micro_rows
        return layers + (2 * self.vocabulary * c.hidden_size * self.width if many else 0)

    def layer(self) -> int:
        """What a layer's backward pass has on hand: all of its forward pass once, as much again in gradients."""
        c = self.config
        again = 0 if self.recipe.remat == "none" else self._everything()
        biggest = max(3 * self.forward, (self.heads + 2 * self.kv_heads) * c.head_dim) + 2 * c.hidden_size
        keys = 4 * self.rows * self.shape.tokens * self.kv_heads * c.head_dim * self.width if self.context > 1 else 0
        return self.tokens * (again + biggest) * self.width + 2 * self._scores(True) + keys + self._weights()

    def logits(self) -> int:
        """Logits, their probabilities and their gradient in float32, of one chunk; hidden states; the output matrix."""
        c = self.config
        predictions = self.rows * self.shape.predictions // self.context
        chunk = self.rows * min(CHUNK, self.shape.predictions)
        matrix = self.vocabulary * c.hidden_size * self.width
        trained = 1 if self.recipe.lora is not None else 2  # and its gradient
        whole = self.rows * self.shape.tokens * c.hidden_size * self.width if self.context > 1 else 0
        return 3 * 4 * chunk * self.vocabulary + 2 * predictions * c.hidden_size * self.width + trained * matrix + whole

    def _everything(self) -> int:
        """Numbers a token that a layer's backward pass may read: the input of every product and of every curve."""
        c = self.config
        attended = (3 * self.heads + 4 * self.kv_heads) * c.head_dim
        adapter = 7 * self.recipe.lora["rank"] if self.recipe.lora else 0
        return 8 * c.hidden_size + attended + 5 * self.forward + adapter

    def _scores(self, here: bool) -> int:
        """Bytes of the square of attention, where it is made whole: scores and their softmax."""
        if self.block or not here:
            return 0
        return 2 * 4 * self.rows * self.heads * (self.shape.tokens // self.context) * self.shape.tokens

    def _weights(self) -> int:
        """One layer's matrices as a product needs them: gathered over fsdp, unpacked, in the dtype of computation."""
        c = self.config
        attended = 2 * (self.heads + self.kv_heads) * c.head_dim * c.hidden_size
        count = attended + 3 * self.forward * c.hidden_size
        return count * self.width * (1 if self.recipe.lora is not None else 2)
