"""Transformer blocks, and causal transformers over tokens."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Decay, Dtype, Natural, Positive
from ssljax.names import Mistake, choose
from ssljax.nets.attention import attention
from ssljax.nets.layers import Activation, Dense, Init, activate, check, shift
from ssljax.nets.norms import LayerNorm, rms


def rotate(x: jax.Array, positions: jax.Array) -> jax.Array:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864): x [B, T, H, e], positions [T]."""
    half = x.shape[-1] // 2
    rates = 10000.0 ** (-jnp.arange(half) / half)
    angles = positions[:, None, None] * rates  # [T, 1, e / 2]
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)


class Block(nn.Module):
    heads: int
    expand: float
    norm: str
    positions: str
    activation: str
    bias: bool
    normalize_qk: bool
    scale: float
    kernel_init: Any
    init_out: Any
    causal: bool
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, maps: bool = False, length: jax.Array | None = None
    ) -> jax.Array:
        """[B, T, width] -> the same; with maps=True, attention of token i to j [B, heads, T, T].

        length [B]: so many tokens of each row are attended to; None: all.
        """
        B, T, width = x.shape

        def dense(dim, init, name):
            return Dense(dim, bias=self.bias, kernel_init=init, dtype=self.dtype, name=name)

        def norm(x, name):  # rms has no params, so it needs no name
            if self.norm == 'rms':
                return rms(x)
            return LayerNorm(epsilon=1e-5, dtype=self.dtype, name=name)(x)

        def drop(x):
            return nn.Dropout(self.dropout, deterministic=not train)(x)

        h = norm(x, 'attend_norm')
        # three matrices, not one, since Muon makes the update of each matrix orthogonal
        q, k, v = (
            dense(width, self.kernel_init, name)(h).reshape(B, T, self.heads, -1)  # [B, T, H, e]
            for name in ('query', 'key', 'value')
        )
        if self.normalize_qk:
            q, k = rms(q), rms(k)
        if self.positions == 'rotary':
            q, k = (rotate(a, jnp.arange(T)) for a in (q, k))
        scale = self.scale / (width // self.heads) ** 0.5
        if maps:
            scores = jnp.einsum('bihe,bjhe->bhij', q, k).astype(jnp.float32)
            if length is not None:
                scores = jnp.where(jnp.arange(T) < length[:, None, None, None], scores, -jnp.inf)
            return jax.nn.softmax(scores * scale)
        h = attention(q, k, v, scale=scale, causal=self.causal, lengths=length)
        x = x + drop(dense(width, self.init_out, 'attend_out')(h.reshape(B, T, width)))
        h = norm(x, 'mlp_norm')
        h = activate(
            dense(int(self.expand * width), self.kernel_init, 'mlp_in')(h), self.activation
        )
        return x + drop(dense(width, self.init_out, 'mlp_out')(h))


def make_block(*, remat: bool = False, **options: Any) -> Block:
    """A Block. With remat, only its input is kept for the backward pass, which computes it again:
    a third more work, and of all blocks but one no inner activations. No value changes. For a CPU,
    XLA merges the two computations again, so nothing is gained there."""
    # train and maps, counted from the module itself, are no arrays; so a call gives both, in place
    return (nn.remat(Block, static_argnums=(2, 3)) if remat else Block)(**options)


class Transformer(nn.Module):
    vocab: int
    width: int
    depth: int
    context: int
    tied: bool
    block: dict
    init_embed: float
    dropout: float
    dtype: Any

    def setup(self):
        b = self.block
        init = nn.initializers.normal(self.init_embed)
        self.embed = nn.Embed(self.vocab, self.width, embedding_init=init, dtype=self.dtype)
        if b['positions'] == 'learned':
            small = nn.initializers.normal(0.01)
            self.place = self.param('place', small, (self.context, self.width))
        blocks = range(self.depth)
        self.blocks = [make_block(**b, dropout=self.dropout, dtype=self.dtype) for _ in blocks]
        self.drop = nn.Dropout(self.dropout)
        if b['norm'] != 'rms':
            self.norm = LayerNorm(epsilon=1e-5, dtype=self.dtype)
        if not self.tied:
            self.out = Dense(self.vocab, bias=False, kernel_init='normal', dtype=self.dtype)

    def features(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        """Tokens int [B, T] -> the final hidden states [B, T, width]."""
        T = tokens.shape[1]
        if self.context < T:
            raise Mistake(f'{T} tokens for a context of {self.context}; type context={T}')
        # not embed(): it casts first, and so adds the gradients of a token in bfloat16
        x = self.embed.embedding[tokens].astype(self.dtype or jnp.float32)
        if self.block['positions'] == 'learned':
            x = shift(x, self.place[:T])
        x = self.drop(x, deterministic=not train)
        for block in self.blocks:
            x = block(x, train, False)
        return rms(x) if self.block['norm'] == 'rms' else self.norm(x)

    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        """Tokens int [B, T] -> logits float32 [B, T, vocab] for the token after each."""
        h = self.features(tokens, train)
        logits = self.embed.attend(h) if self.tied else self.out(h)
        return logits.astype(jnp.float32)


def transformer(
    *,
    vocab: Natural = 0,
    width: Count = 128,
    depth: Count = 4,
    heads: Count = 4,
    context: Count = 128,
    expand: Count = 4,
    norm: Literal['rms', 'token'] = 'rms',
    positions: Literal['rotary', 'learned'] = 'rotary',
    activation: Activation = 'relu2',
    bias: bool = False,
    tied: bool = False,
    normalize_qk: bool = True,
    scale: Positive = 1.2,
    zero_init: bool = True,
    kernel_init: Init = 'lecun',
    init_embed: Positive = 0.02,
    dropout: Decay = 0.0,
    remat: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """A causal transformer with norms before layers, tokens int [B, T] -> logits [B, T, vocab].

    vocab: the number of tokens.
    width: of the hidden states.
    depth: the number of blocks.
    heads: of attention, in each block.
    context: the greatest T.
    expand: the hidden width of a block's mlp, over `width`.
    norm: rms (without params) or token (layer norm of each token).
    positions: rotary, or learned (a vector for each position, added to the embedding).
    activation: of the mlp, a name of `layers.ACTIVATIONS`.
    bias: whether dense layers have one.
    tied: whether the output layer is the embedding.
    normalize_qk: whether queries and keys are divided by their root mean square.
    scale: a factor of the scores q.k / sqrt(e), e the width of a head.
    zero_init: whether the output layers of attention and mlp start at zero, so that each block is
    the identity; else with a deviation of 0.02 / sqrt(2 * depth).
    kernel_init: of the other layers of a block, a name of `layers.INITIALIZERS` or a deviation.
    init_embed: the deviation of the embedding.
    dropout: its rate.
    remat: whether blocks are computed again in the backward pass, which takes less memory.
    dtype: of the computation; None: that of inputs and params.
    """
    check(activation=activation)
    choose(norm, ('rms', 'token'), 'norm')
    choose(positions, ('rotary', 'learned'), 'positions')
    if not vocab:
        raise Mistake('a transformer needs a vocabulary, found none; type vocab=256 or use text')
    if width % heads or (width // heads) % 2:
        raise Mistake(f'width {width} is no even multiple of {heads} heads; type width={2 * heads}')
    block = dict(
        heads=heads,
        expand=expand,
        norm=norm,
        positions=positions,
        activation=activation,
        bias=bias,
        normalize_qk=normalize_qk,
        scale=scale,
        kernel_init=kernel_init,
        init_out='zeros' if zero_init else 0.02 / (2 * depth) ** 0.5,
        causal=True,
        remat=remat,
    )
    return Transformer(vocab, width, depth, context, tied, block, init_embed, dropout, dtype)


def gpt2(
    *,
    vocab: Natural = 50257,
    width: Count = 768,
    depth: Count = 12,
    heads: Count = 12,
    context: Count = 1024,
    dropout: Decay = 0.1,
    remat: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """GPT-2 small: 124,439,808 params. Radford et al. 2019.

    vocab, width, depth, heads, context, dropout, remat, dtype: as of `transformer`.
    """
    return transformer(
        vocab=vocab,
        width=width,
        depth=depth,
        heads=heads,
        context=context,
        norm='token',
        positions='learned',
        activation='gelu',
        bias=True,
        tied=True,
        normalize_qk=False,
        scale=1.0,
        zero_init=False,
        kernel_init='normal',
        init_embed=0.02,
        dropout=dropout,
        remat=remat,
        dtype=dtype,
    )
