"""What one accelerator can do, as its maker publishes it, and what a run is trusted to get of that."""

import dataclasses

MEMORY_SHARE = 0.9  # of its memory: the rest is the runtime's, and lost between arrays
COMPUTE_SHARE = 0.5  # of its peak, in matrix products of training
TRAFFIC_SHARE = 0.7  # of its links


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One chip.

    memory: bytes. flops: bfloat16 products, dense, a second. links: bytes a second that one chip sends over its fast
    links. island: chips that those join; beyond, `network` bytes a second for each chip (0 = the fast links go on).
    platform: as JAX calls it. source: where the figures stand.
    """

    memory: float
    flops: float
    links: float
    island: int
    network: float
    platform: str
    source: str

    @property
    def usable(self) -> float:
        """Bytes that a step may take."""
        return MEMORY_SHARE * self.memory

    def bandwidth(self, devices: int) -> float:
        """Bytes a second between this many chips."""
        return TRAFFIC_SHARE * (self.links if devices <= self.island or not self.network else self.network)


_POD = 8960
_NODE = 8
_NETWORK = 50e9  # one port of 400 Gbit/s for each GPU, as DGX H100 and H200 have

# Interconnects are published for both directions together; `links` is half of it.
ACCELERATORS: dict[str, Accelerator] = {
    "v5p": Accelerator(95e9, 459e12, 300e9, _POD, 0, "tpu", "Cloud TPU documentation, system architecture of v5p"),
    "v6e": Accelerator(32e9, 918e12, 224e9, 256, 12.5e9, "tpu", "Cloud TPU documentation, system architecture of v6e"),
    "H100": Accelerator(80e9, 989e12, 450e9, _NODE, _NETWORK, "gpu", "NVIDIA H100 data sheet, SXM, without sparsity"),
    "H200": Accelerator(141e9, 989e12, 450e9, _NODE, _NETWORK, "gpu", "NVIDIA H200 data sheet, SXM, without sparsity"),
}
