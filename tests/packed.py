"""The product with a packed 4-bit layer in plain torch, for processors without its instructions."""

from typing import Any

import torch
from torch import Tensor

COLUMNS = 32


def unpacked(packed: Tensor, state: Any) -> Tensor:
    """[outputs, inputs] bfloat16 weights that bitsandbytes has packed."""
    outputs, inputs = state.shape
    pairs = packed.reshape(-1, COLUMNS)  # of 32 outputs and two inputs, low half first
    codes = torch.cat([pairs & 0xF, pairs >> 4], dim=1).reshape(-1, inputs // 2, COLUMNS, 2)
    codes = codes.transpose(1, 2).reshape(outputs, inputs)
    scales = state.absmax.T.repeat_interleave(state.blocksize, dim=1)
    return (state.code[codes.long()] * scales.float()).to(torch.bfloat16)


@torch.no_grad()  # as in the compiled one, nothing is told to autograd
def gemv_4bit(A: Tensor, B: Tensor, out: Tensor | None = None, *, state: Any) -> Tensor:
    """A [..., inputs] times the packed weights, [..., outputs]."""
    assert out is None
    return (A.to(torch.bfloat16) @ unpacked(B, state).T).to(A.dtype)
