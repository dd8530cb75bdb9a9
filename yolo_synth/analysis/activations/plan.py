"""In which pieces a network's layers are run so that all images fit into the memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from yolo_synth.analysis.activations.grams import gram_bytes
from yolo_synth.analysis.activations.layers import IMAGE, Layer
from yolo_synth.analysis.activations.policy import PROCESSOR, Policy
from yolo_synth.analysis.activations.stripes import padding, reach

MOST_NUMBERS: Final = 2**31 - 1
"""In one tensor that a layer is run on: convolutions count them in 32 bits."""


@dataclass(frozen=True)
class Plan:
    """How to run a network's layers over all images.

    Attributes:
        layers: The layers, in order.
        images: How many images.
        itemsize: Bytes of one number of an output.
        striped: The first so many layers run on stripes, the others whole.
        rows: Rows of the images in a stripe.
        sums: Bytes of the result that is summed up for a layer while it runs.
        policy: Sizes of the pieces.
    """

    layers: list[Layer]
    images: int
    itemsize: int
    striped: int = 0
    rows: int = 0
    sums: int = 0
    policy: Policy = PROCESSOR

    def group(self, layer: Layer) -> int:
        """Return how many images to run a whole layer on at once."""
        group = self.policy.least_group
        wanted = self.policy.group_bytes
        while group < self.images and 2 * group * layer.widest * self.itemsize <= wanted:
            group *= 2
        return max(1, min(group, self.images, MOST_NUMBERS // layer.widest))

    @cached_property
    def last_use(self) -> dict[int, int]:
        """For each layer, and the images, the last layer that reads it; itself if none does."""
        uses = {layer.index: layer.index for layer in self.layers}
        return uses | {source: layer.index for layer in self.layers for source in layer.sources}

    @property
    def height(self) -> int:
        """Rows of the images."""
        return self.layers[0].inputs[0][1]

    @property
    def stripes(self) -> list[slice]:
        """The rows of the images that each stripe takes."""
        tops = range(0, self.height, self.rows)
        return [slice(top, min(top + self.rows, self.height)) for top in tops]

    @property
    def exits(self) -> list[Layer]:
        """Layers that run on stripes and are read by layers that do not."""
        last_use = self.last_use
        return [la for la in self.layers[: self.striped] if last_use[la.index] >= self.striped]

    @property
    def peak(self) -> int:
        """Bytes that the layers' outputs, and what is needed to compute them, take at most."""
        outputs = max(self._peak_on_stripes(), self._peak_on_whole())
        sums = 3 * len(self.layers) if self.policy.at_the_end else self.striped + 1
        return outputs + self._weights() + self._products() + sums * self.sums

    def _products(self) -> int:
        """Bytes of the features that are multiplied at once, rearranged, and of their products."""
        if self.policy.block_images:
            return 4 * self.policy.slice_bytes
        largest = max(layer.features for layer in self.layers) * self.images * self.itemsize
        return 2 * min(largest, self.policy.slice_bytes)

    def _weights(self) -> int:
        """Bytes of the weights that are copied to fold batch norms into them."""
        sizes = [la.chain.convolution.weight.numel() if la.chain else 0 for la in self.layers]
        on_stripes, whole = sum(sizes[: self.striped]), max(sizes[self.striped :], default=0)
        return max(on_stripes, whole) * self.itemsize

    def _peak_on_whole(self) -> int:
        """Bytes held while the layers run whole, an output until its last reader has run."""
        # A view shares the memory of what it looks at, which lives until the view's last reader has run
        owner: dict[int, int] = {}
        until: dict[int, int] = {}
        for layer in self.layers:
            shares = layer.index >= self.striped and layer.is_view
            owner[layer.index] = owner.get(layer.sources[0], IMAGE) if shares else layer.index
            for index in (layer.index, *layer.sources):
                until[owner.get(index, IMAGE)] = layer.index
        size = {layer.index: layer.features * self.images for layer in self.layers} | {IMAGE: 0}
        held = {layer.index for layer in self.exits}
        peak = 0
        for layer in self.layers[self.striped :]:
            # While a layer runs, its sources are there and its output is coming: the larger sum counts
            before = sum(size[index] for index in held)
            held = {index for index in held if until[index] > layer.index} | {owner[layer.index]}
            after = sum(size[index] for index in held)
            peak = max(peak, max(before, after) + self._working(layer))
            held = {index for index in held if until[index] > layer.index}
        return peak * self.itemsize

    def _working(self, layer: Layer) -> int:
        return self.policy.working * self.group(layer) * layer.widest

    def _peak_on_stripes(self) -> int:
        """Bytes held for a stripe, the rows kept for the next, and the outputs put together."""
        last_use, exits = self.last_use, self.exits
        group = min(self.policy.least_group, self.images) / self.images
        lag = {IMAGE: 0}  # rows by which a layer is behind before the last stripe
        size = {IMAGE: self.rows * self.layers[0].inputs[0][0] * self.layers[0].inputs[0][2]}
        kept, held, peak = 0, {IMAGE}, 0
        for layer in self.layers[: self.striped]:
            late = max(lag[source] for source in layer.sources)
            height = layer.inputs[0][1]
            # Besides its new rows a layer needs those that the next stripe's first rows reach back to
            windows = []
            for source, (channels, _, width) in zip(layer.sources, layer.inputs, strict=True):
                rows = reach(layer.chain.convolution) if layer.chain else late - lag[source]
                kept += rows * channels * width
                windows.append(size[source] + rows * channels * width)
            if layer.chain:
                conv = layer.chain.convolution
                # A row of output waits for all rows below it that its kernel reaches; -(-a // b) rounds up
                late = -(-(late + reach(conv) - 1 - padding(conv)[0]) // conv.stride[0])
            lag[layer.index] = late
            channels, height, width = layer.shape
            # The last stripe gives the rows that were late as well
            rows = min(height, -(-self.rows * height // self.height) + late)
            size[layer.index] = channels * rows * width
            held.add(layer.index)
            working = round(self.policy.working * group * max(size[layer.index], *windows))
            peak = max(peak, sum(size[index] for index in held) + working)
            held = {index for index in held if last_use[index] > layer.index}
        # What whole layers will read is put together from all stripes, and stays
        assembled = sum(layer.features for layer in exits)
        return (assembled + kept + peak) * self.images * self.itemsize


class DoesNotFitError(ValueError):
    """All images' outputs do not fit into the memory together."""


def make_plan(
    layers: list[Layer],
    images: int,
    itemsize: int,
    memory: int,
    sums: int = 0,
    policies: Sequence[Policy] = (PROCESSOR,),
) -> Plan:
    """Plan the run, first for speed, then for as little memory as there is.

    Args:
        layers: The network's layers.
        images: How many images.
        itemsize: Bytes of one number of an output.
        memory: Bytes that the layers' outputs, and what is needed to compute them, may take.
        sums: As in `Plan`.
        policies: The first that fits is taken.

    Raises:
        DoesNotFitError: If no plan keeps within `memory`.
    """
    least = float("inf")
    for policy in policies:
        for striped, rows in _choices(layers, min(images, policy.least_group) * itemsize, policy):
            plan = Plan(layers, images, itemsize, striped, rows, sums, policy)
            peak = plan.peak
            if peak <= memory:
                return plan
            least = min(least, peak)
    raise DoesNotFitError(
        f"{images} images of {layers[0].inputs[0]} need {least / 2**20:.0f} MiB for the layers' "
        f"outputs, more than the {memory / 2**20:.0f} MiB of memory allowed: allow more, or use "
        "fewer or smaller images"
    )


def most_images(
    layers: list[Layer],
    images: int,
    itemsize: int,
    memory: int,
    processes: int = 1,
    policies: Sequence[Policy] = (PROCESSOR,),
) -> int:
    """Return how many of `images` images fit at once, those of all processes together."""

    def too_many(count: int) -> bool:
        try:
            make_plan(layers, -(-count // processes), itemsize, memory, gram_bytes(count), policies)
        except DoesNotFitError:
            return True
        return False

    # One more image never needs less, so the counts that fit come before those that do not
    return bisect_left(range(1, images + 1), True, key=too_many)


def _choices(layers: list[Layer], group_bytes: int, policy: Policy) -> Iterator[tuple[int, int]]:
    """Yield how many layers to stripe and how many rows a stripe has, the fastest choices first.

    Args:
        layers: The network's layers.
        group_bytes: Bytes that one number takes in the least group of images.
        policy: Sizes of the pieces.
    """
    whole_bytes = policy.whole_bytes
    wide = [layer.index for layer in layers if layer.widest * group_bytes > whole_bytes]
    if not wide:
        yield 0, 0
    if whole_bytes == float("inf"):
        return
    can = next((layer.index for layer in layers if not layer.can_stripe), len(layers))
    if wide and not can:
        yield 0, 0
    fewest = 1 + max((index for index in wide if index < can), default=0)
    height = layers[0].inputs[0][1]
    for striped in range(fewest, can + 1):
        step = max(1, height // layers[striped - 1].shape[1])
        row = max(layer.features for layer in layers[:striped]) / height
        rows = max(step, int(policy.stripe_bytes / (row * group_bytes)) // step * step)
        while rows >= step:
            if rows < height:
                yield striped, rows
            rows = rows // 2 // step * step
