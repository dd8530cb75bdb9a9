"""A device that is not the processor, for machines that have no other.

Its tensors call themselves CUDA's and hold their numbers in the processor's memory. What CUDA refuses
they refuse: an operation on tensors of both devices, and numpy. What runs, and on what kind of device,
is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)

MEMORY = 2**33
"""Bytes that it has free."""

_aten = torch.ops.aten

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
"""Of operations that consist of others, which follow one by one."""

_MAY_MIX = {_aten.copy_.default, _aten._to_copy.default, _aten._foreach_copy_.default}
"""Operations that move numbers from one device to another."""

_INDEXED = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default}
"""Operations that take indices from the processor."""


ran: Counter[tuple[str, str]] = Counter()
"""How often each operation ran since the device was lent, with the kind of device: `cuda`, `cpu`."""


class Away(Tensor):
    """A tensor on the other device."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Away:
        """Take a tensor's memory along."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )

    def __init__(self, here: Tensor) -> None:
        """Keep the tensor that holds the numbers."""
        self.here = here

    def __repr__(self) -> str:
        """Look like a tensor, for messages."""
        return f"Away({self.here!r})"

    def __reduce_ex__(self, protocol: int) -> Any:
        """Be written to a file as the plain tensor."""
        return self.here.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(
        cls,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute on the processor what the other device would."""
        return _compute(function, args, dict(kwargs or {}))


class _Operations(TorchDispatchMode):
    """Make there what is made on no tensor's device, or moved."""

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        return _compute(function, args, dict(kwargs or {}))


def _compute(function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    given = tree_leaves((args, kwargs))
    written = {id(leaf.here): leaf for leaf in given if isinstance(leaf, Away)}
    to = kwargs.get("device")
    if not written and (to is None or to.type != "cuda"):
        ran.update({(leaf.device.type, function.name()) for leaf in given if _is_tensor(leaf)})
        return function(*args, **kwargs)
    if _COMPOSITE not in function.py_kernels and function.has_kernel_for_dispatch_key(_COMPOSITE):
        with _Operations():
            return function.decompose(*args, **kwargs)
    ran["cuda", function.name()] += 1
    if function not in _MAY_MIX:
        _refuse_mixture(function, args, kwargs)
    stays = to is not None and to.type != "cuda"
    stays |= function is _aten.copy_.default and not isinstance(args[0], Away)
    if to is not None and not stays:
        kwargs["device"] = torch.device("cpu")
    # tensors of inference mode cannot be wrapped
    with torch.inference_mode(mode=False), torch.no_grad():
        here = tree_map(lambda leaf: leaf.here if isinstance(leaf, Away) else leaf, (args, kwargs))
        result = function(*here[0], **here[1])

        def back(value: object) -> object:
            if not _is_tensor(value) or stays:
                return value
            return written[id(value)] if id(value) in written else Away(value)

        return tree_map(back, result)


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def _refuse_mixture(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    seen = args[:1] if function in _INDEXED else args
    for leaf in tree_leaves((seen, dict(kwargs))):
        if _is_tensor(leaf) and not isinstance(leaf, Away) and leaf.dim():
            raise RuntimeError(
                f"{function}: expected all tensors on one device, found one on {leaf.device}"
            )


class _Functions(TorchFunctionMode):
    """Do what no operation is made of."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.batch_norm:  # would look what card this is
            return _batch_norm(*args, **(kwargs or {}))
        if args and isinstance(args[0], Away):
            if function in (Tensor.tolist, Tensor.__format__):
                return function(args[0].here, *args[1:])
            if function is Tensor.numpy:
                raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return function(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    mean: Tensor | None,
    variance: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    return torch.native_batch_norm(x, weight, bias, mean, variance, training, momentum, eps)[0]


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Lend the device."""
    ran.clear()
    torch._C._ensureCUDADeviceGuardSet()
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        free = patch("torch.cuda.mem_get_info", lambda _: (MEMORY, MEMORY))
        with patch("torch.cuda._lazy_init"), free, _Functions(), _Operations():
            yield DEVICE
    finally:
        torch._C._set_only_lift_cpu_tensors(False)
        torch.__future__.set_overwrite_module_params_on_conversion(before)
