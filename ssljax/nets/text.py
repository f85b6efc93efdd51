"""Text towers: tokens int [B, T], of which `length` [B] are meant, to one vector [B, width]."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Decay, Dtype, Natural, Positive
from ssljax.names import Mistake, choose
from ssljax.nets.layers import Activation, check, shift
from ssljax.nets.norms import LayerNorm
from ssljax.nets.transformer import make_block


class TextTransformer(nn.Module):
    vocab: int
    width: int
    depth: int
    context: int
    block: dict
    pool: str
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, tokens: jax.Array, length: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Tokens int [B, T], length int [B] (None: all of T) -> [B, width]."""
        B, T = tokens.shape
        if self.context < T:
            raise Mistake(f'{T} tokens for a context of {self.context}; type context={T}')
        length = jnp.full(B, T) if length is None else length
        x = embedding(self, tokens, 0.02)
        place = self.param('place', nn.initializers.normal(0.01), (self.context, self.width))
        x = nn.Dropout(self.dropout, deterministic=not train)(shift(x, place[:T]))
        for i in range(self.depth):
            options = dict(self.block, dropout=self.dropout, dtype=self.dtype, name=f'blocks_{i}')
            # no row without any token
            x = make_block(**options)(x, train, False, length=jnp.maximum(length, 1))
        x = LayerNorm(epsilon=1e-5, dtype=self.dtype, name='norm')(x)
        if self.pool == 'mean':
            return mean(x, length)
        last = jnp.maximum(length - 1, 0)
        return jax.vmap(lambda row, i: row[i])(x, last)  # so that no index is sent to a device


class Bag(nn.Module):
    vocab: int
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array, length: jax.Array | None = None) -> jax.Array:
        """Tokens int [B, T], length int [B] (None: all of T) -> [B, width]."""
        length = jnp.full(len(tokens), tokens.shape[1]) if length is None else length
        return mean(embedding(self, tokens, 1.0), length)


def embedding(module: Any, tokens: jax.Array, deviation: float) -> jax.Array:
    """The vectors of tokens [B, T] -> [B, T, width], inside a compact module."""
    init = nn.initializers.normal(deviation)
    table = module.param('embedding', init, (module.vocab, module.width))
    # the table is not cast first: the gradients of a token would be added in bfloat16
    return table[tokens].astype(module.dtype or jnp.float32)


def mean(x: jax.Array, length: jax.Array) -> jax.Array:
    """The mean of the first tokens of each row: x [B, T, D], length [B] -> [B, D]."""
    meant = jnp.arange(x.shape[1]) < length[:, None]
    x = jnp.where(meant[..., None], x, 0)
    return (x.sum(1, dtype=jnp.float32) / jnp.maximum(length, 1)[:, None]).astype(x.dtype)


def text_transformer(
    *,
    vocab: Natural = 0,
    width: Count = 512,
    depth: Count = 12,
    heads: Count = 8,
    context: Count = 77,
    expand: Positive = 4,
    activation: Activation = 'gelu',
    causal: bool = True,
    pool: Literal['last', 'mean'] = 'last',
    dropout: Decay = 0.0,
    remat: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Tokens [B, T] and their number [B] -> features [B, width]: the text tower of CLIP.

    Radford et al. 2021, arXiv:2103.00020, section 2.4: tokens see those before them, and the last
    one, which ends the text, is the feature. What is behind it changes nothing.

    vocab: the number of tokens.
    width: of the tokens.
    depth: the number of blocks.
    heads: of attention, in each block.
    context: the greatest T.
    expand: the hidden width of a block's mlp, over `width`.
    activation: of the mlp, a name of `layers.ACTIVATIONS`.
    causal: whether a token sees only those before it.
    pool: last (the last token that is meant) or mean (of those that are).
    dropout: its rate.
    remat: whether blocks are computed again in the backward pass, which takes less memory.
    dtype: of the computation; None: that of inputs and params.
    """
    check(activation=activation)
    choose(pool, ('last', 'mean'), 'pool')
    known('text_transformer', vocab)
    if width % heads:
        raise Mistake(f'width {width} is no multiple of {heads} heads; type width={64 * heads}')
    block = dict(
        heads=heads,
        expand=expand,
        norm='token',
        positions='given',
        activation=activation,
        bias=True,
        normalize_qk=False,
        scale=1.0,
        kernel_init='xavier',
        init_out=0.02 / (2 * depth) ** 0.5,
        causal=causal,
        remat=remat,
    )
    return TextTransformer(vocab, width, depth, context, block, pool, dropout, dtype)


def bag(*, vocab: Natural = 0, width: Count = 512, dtype: Dtype | None = None) -> nn.Module:
    """Tokens [B, T] and their number [B] -> the mean of their vectors [B, width]; order is lost.

    vocab: the number of tokens.
    width: of the vectors.
    dtype: of the computation; None: that of inputs and params.
    """
    known('bag', vocab)
    return Bag(vocab, width, dtype)


def known(who: str, vocab: int) -> None:
    if not vocab:
        raise Mistake(f'{who} needs a vocabulary, found none; type data that have texts, or vocab=')
