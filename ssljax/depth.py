"""How deep a param is: how many blocks of its net are above it."""

import re
from typing import Any

import jax

from ssljax.method import Tree
from ssljax.names import Mistake
from ssljax.sharding import path_name

# parts of a path after the name of the net
TOKENS = re.compile(r'(token|register)s?$')  # class, mask, register: [1, 1, D]
PLACES = re.compile(r'(^|[_/])(places?|pos|positions?|positional)($|[_/])')  # tables [N, D]
STEMS = re.compile(r'(^|[_/])(embed|patch|stem)')
BLOCKS = re.compile(r'(?:block|layer|stage)s?_?(\d+)(?:/|$)', re.IGNORECASE)


def from_top(params: Tree) -> Tree:
    """For each param, how many blocks of its net are above it, its own block included.

    A param of block i has depth - i, where depth is the number of blocks. Embeddings, stems, tokens
    and positions come before the first block and have depth + 1. All others (final norms, heads,
    nets without blocks) have 0. With the rate times layer_decay ** from_top this is the rule of Bao
    et al. 2021, arXiv:2106.08254, and of MAE. A block is found by its name: 'blocks_3', 'Block_3',
    'ResidualBlock_2', 'layer3'. Of blocks within blocks the outermost counts.
    """
    depth: dict[str, int] = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        if block := BLOCKS.search(path_name(path[1:])):
            net = path_name(path[:1])
            depth[net] = max(depth.get(net, 0), int(block[1]) + 1)
    if not depth:
        raise Mistake(
            'layer_decay finds no numbered blocks, as blocks_3 or Block_3, in the params of this'
            ' turn; type layer_decay=1.0'
        )

    def count(path: tuple[Any, ...], _: Any) -> int:
        name, blocks = path_name(path[1:]), depth.get(path_name(path[:1]), 0)
        if block := BLOCKS.search(name):
            return blocks - int(block[1])
        before = blocks and any(pattern.search(name) for pattern in (TOKENS, PLACES, STEMS))
        return blocks + 1 if before else 0

    return jax.tree_util.tree_map_with_path(count, params)
