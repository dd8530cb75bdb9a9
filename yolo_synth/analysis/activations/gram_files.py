"""Gram matrices kept in a folder, each with what it follows from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from yolo_synth.files import digest, write_whole

METHOD: Final = 2
"""Of how matrices are computed: raise it whenever they become others by more than rounding. Those of
another one are computed anew."""

_SEAL: Final = 32
"""Bytes of a matrix's digest, at its file's end."""


class Fingerprint(TypedDict):
    """What Gram matrices were computed from, and how.

    Attributes:
        weights: SHA-256 of the network's state.
        network: SHA-256 of what its modules are and how they are joined.
        images: SHA-256 of the images as they were given.
        shape: Of the images.
        precision: `float32` or `bfloat16`.
        layers: Names of the layers.
        method: How features become a matrix, `METHOD`.
    """

    weights: str
    network: str
    images: str
    shape: list[int]
    precision: str
    layers: list[str]
    method: int


def fingerprint(
    network: nn.Module, images: Tensor, precision: str, layers: Sequence[str]
) -> Fingerprint:
    """Describe a computation, so that one of other numbers has another description.

    Of the network that is its state, its modules as they print themselves, and its plan: a forward
    method of one's own that is changed and prints alike goes unnoticed.
    """
    plan = f"{network} {list(getattr(network, 'sources', ()))}"
    return Fingerprint(
        weights=digest_of(network),
        network=hashlib.sha256(plan.encode()).hexdigest(),
        images=_digest({"images": images}),
        shape=list(images.shape),
        precision=precision,
        layers=list(layers),
        method=METHOD,
    )


def digest_of(network: nn.Module) -> str:
    """Return the SHA-256 of a network's state."""
    return _digest(network.state_dict())


def _digest(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


class GramFolder:
    """The Gram matrices of one network on one set of images, one file a layer.

    `fingerprint.json` says what they were computed from; `012.npy` is layer 12's, float64 [n, n], and
    a digest of it. A file that is damaged counts as absent.
    """

    def __init__(self, folder: Path, origin: Fingerprint) -> None:
        """Open a folder, or make it.

        Raises:
            ValueError: If it is of another computation.
        """
        self.folder = folder
        if _fingerprint_file(folder).exists():
            there = _read_fingerprint(folder)
            if there is None or there.get("method") != origin["method"]:
                # Nobody knows of what the matrices are, or they were computed in another way
                for file in folder.glob("*.npy"):
                    file.unlink()
                there = origin
            if differ := [key for key, value in origin.items() if there.get(key) != value]:
                raise ValueError(
                    f"{folder} holds Gram matrices of other {', '.join(differ)}: "
                    "name another folder, or delete this one"
                )
        sealed = {**origin, "digest": _digest_of(origin)}
        write_whole(_fingerprint_file(folder), json.dumps(sealed, indent=1))

    def save(self, layer: int, matrix: Tensor) -> None:
        """Keep the matrix of a layer."""
        file = io.BytesIO()
        np.save(file, matrix.numpy())
        content = file.getvalue()
        write_whole(_layer_file(self.folder, layer), content + _seal(content), synced=False)

    def load_into(self, grams: Tensor) -> set[int]:
        """Copy the matrices that are there into float64 [layers, n, n]; return which they are."""
        files = {layer: _layer_file(self.folder, layer) for layer in range(len(grams))}
        there = set()
        for layer, file in files.items():
            matrix = _read_matrix(file, grams.shape[-1])
            if matrix is not None:
                grams[layer] = matrix
                there.add(layer)
        return there


def load_grams(folder: Path) -> tuple[Tensor, Fingerprint]:
    """Read what `gram_matrices` kept in a folder.

    Returns:
        float64 [layers, n, n], not centred, and what they were computed from.

    Raises:
        FileNotFoundError: If there are none, some layers' are missing or damaged, or they were computed
            in a way that is no longer ours.
    """
    if not _fingerprint_file(folder).exists():
        raise FileNotFoundError(f"{folder} holds no Gram matrices: it has no fingerprint.json")
    origin = _read_fingerprint(folder)
    if origin is None:
        raise FileNotFoundError(
            f"{folder}: its fingerprint.json is damaged or of an earlier release; compute them again"
        )
    if origin.get("method") != METHOD:
        raise FileNotFoundError(
            f"{folder} holds Gram matrices of an earlier release: compute them again with the same folder"
        )
    files = [_layer_file(folder, layer) for layer in range(len(origin["layers"]))]
    if missing := [file.name for file in files if not file.exists()]:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(files)} Gram matrices, {missing[0]} first: "
            "compute them again with the same folder"
        )
    images = origin["shape"][0]
    grams = torch.empty(len(files), images, images, dtype=torch.float64)
    for file, target in zip(files, grams, strict=True):
        matrix = _read_matrix(file, images)
        if matrix is None:
            raise FileNotFoundError(f"{file} is damaged: compute it again with the same folder")
        target.copy_(matrix)
    return grams, origin


def _fingerprint_file(folder: Path) -> Path:
    return folder / "fingerprint.json"


def _layer_file(folder: Path, layer: int) -> Path:
    return folder / f"{layer:03}.npy"


def _read_fingerprint(folder: Path) -> Fingerprint | None:
    """Return what a folder's matrices are of; None if the file is damaged."""
    try:
        kept = json.loads(_fingerprint_file(folder).read_text(encoding="utf-8"))
        sound = kept.pop("digest") == _digest_of(kept)
        origin: Fingerprint = kept
        sound &= isinstance(origin["layers"], list) and isinstance(origin["shape"][0], int)
        sound &= 0 < origin["shape"][0] < 10**6
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None
    return origin if sound else None


def _read_matrix(file: Path, images: int) -> Tensor | None:
    """Return a kept matrix, float64 [n, n]; None if there is none that is whole."""
    try:
        if file.stat().st_size > 8 * images**2 + 1024:
            return None
        content = file.read_bytes()
        if _seal(content[:-_SEAL]) != content[-_SEAL:]:
            return None
        matrix = np.load(io.BytesIO(content), allow_pickle=False)
        if matrix.shape == (images, images) and matrix.dtype == np.float64:
            return torch.from_numpy(matrix)
    except Exception:  # numpy's, of damaged heads, have no common class
        return None
    return None


def _seal(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SEAL).digest()


def _digest_of(origin: Mapping[str, object]) -> str:
    return digest(json.dumps(origin, sort_keys=True))
