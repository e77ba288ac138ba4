"""Gradients of a batch of texts that need not fit into the memory, nor on one machine.

The texts go through the encoder in groups of similar length. Where all groups together are too
many tokens, or several processes share them, they go through twice: first without gradients, to get
the loss of all embeddings together, then again, group by group, to carry its gradient on (Gao et
al. 2021, GradCache). Dropout is seeded by step and group, so the second pass draws what the first
one drew; several processes come to the gradients of one; and a resumed run draws what an unbroken
one draws.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from torch_embed import processes
from torch_embed.encoding.encode import batches, embed
from torch_embed.encoding.encoder import Encoder

GROUP_TOKENS = 512
"""Padded tokens of a group; more of them together are mostly padding."""


def backward(
    encoder: Encoder,
    tokens: list[list[int]],
    loss: Callable[[Tensor, Tensor], Tensor],
    head: Tensor,
    seed: list[int],
    most: int,
    bfloat16: bool = False,
) -> float:
    """Gradients of a loss for the encoder's parameters and the head, which have none before.

    Args:
        encoder: in training mode.
        tokens: of each text.
        loss: of the texts' unit embeddings [texts, dim], in their order, and the head.
        head: see `torch_embed.training.examples.Batch`.
        seed: of the step.
        most: padded tokens whose activations may be held at once.
        bfloat16: compute in bfloat16 where that is safe (autocast).

    Returns:
        The loss.
    """
    plan = list(batches([len(ids) for ids in tokens], min(most, GROUP_TOKENS)))
    padded = sum(len(group) * len(tokens[group[0]]) for group in plan)
    place, size = processes.place()

    def embed_group(number: int) -> Tensor:
        of_group = [tokens[text] for text in plan[number]]
        return _embed(encoder, of_group, [*seed, number], bfloat16)

    if size == 1 and padded <= most:
        each = [embed_group(number) for number in range(len(plan))]
        whole = loss(torch.cat(each)[np.argsort(np.concatenate(plan))], head)
        whole.backward()
        return whole.item()
    own = range(place, len(plan), size)
    with torch.no_grad():
        parts = {number: embed_group(number) for number in own}
    E = torch.zeros(len(tokens), encoder.dim, device=encoder.model.device)
    for number, part in parts.items():
        E[plan[number]] = part
    E = processes.sum_over(E).requires_grad_()
    whole = loss(E, head)
    whole.backward()
    assert E.grad is not None
    for number in own:
        embed_group(number).backward(E.grad[plan[number]])
    if size > 1:
        for parameter in encoder.model.parameters():
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                processes.sum_over(parameter.grad)
    return whole.item()


def _embed(encoder: Encoder, tokens: list[list[int]], seed: list[int], bfloat16: bool) -> Tensor:
    """[texts, dim] unit embeddings, dropout drawn from `seed`."""
    torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return embed(encoder, tokens, bfloat16)
