"""Vision transformers, and the small decoder of a masked autoencoder.

Dosovitskiy et al. 2020, arXiv:2010.11929; sizes of Touvron et al. 2020, arXiv:2012.12877.
"""

import functools
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Decay, Dtype, Positive
from ssljax.names import Mistake, choose
from ssljax.nets.layers import Activation, Dense, check, shift
from ssljax.nets.norms import LayerNorm
from ssljax.nets.transformer import make_block


def patchify(x: jax.Array, patch: int) -> jax.Array:
    """Images [B, H, W, C] -> patches [B, h, w, patch * patch * C]."""
    B, H, W, C = x.shape
    if H % patch or W % patch:
        raise Mistake(f'{H}x{W} images do not split into patches of {patch}; type another size')
    x = x.reshape(B, H // patch, patch, W // patch, patch, C).swapaxes(2, 3)
    return x.reshape(B, H // patch, W // patch, -1)


def unpatchify(patches: jax.Array, patch: int) -> jax.Array:
    """The inverse: [B, h, w, patch * patch * C] -> [B, H, W, C]."""
    B, h, w, _ = patches.shape
    x = patches.reshape(B, h, w, patch, patch, -1).swapaxes(2, 3)
    return x.reshape(B, h * patch, w * patch, -1)


def sincos(h: int, w: int, width: int) -> jax.Array:
    """Fixed positions [h * w, width]: a quarter each, sine and cosine of column, then of row."""
    rates = 10000.0 ** (-jnp.arange(width // 4) / (width // 4))
    angles = [jnp.arange(n)[:, None] * rates for n in (h, w)]  # [h, width / 4], [w, width / 4]
    rows, columns = (jnp.concatenate([jnp.sin(a), jnp.cos(a)], 1) for a in angles)
    return jnp.concatenate([jnp.tile(columns, (h, 1)), jnp.repeat(rows, w, 0)], 1)


def take(x: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of each example: [B, T, D] at index [B, K] -> [B, K, D]."""
    return jax.vmap(lambda x, i: x[i])(x, index)  # so that no index is sent between devices


class Token(nn.Module):
    """A learned vector [1, 1, width]; a net that never asks for it has no such param."""

    width: int

    @nn.compact
    def __call__(self) -> jax.Array:
        return self.param('value', nn.initializers.normal(0.02), (1, 1, self.width))


class ViT(nn.Module):
    patch: int
    width: int
    depth: int
    block: dict
    size: int
    positions: str
    class_token: bool
    pool: str
    dropout: float
    dtype: Any

    def setup(self):
        self.embed = Dense(self.width, kernel_init='xavier', dtype=self.dtype)
        small = nn.initializers.normal(0.02)
        if self.class_token:
            self.token = self.param('class_token', small, (1, 1, self.width))
        if self.positions == 'learned':
            count = (self.size // self.patch) ** 2
            self.place = self.param('place', small, (self.class_token + count, self.width))
        self.mask_token, self.second_token = Token(self.width), Token(self.width)
        options = dict(self.block, dropout=self.dropout, dtype=self.dtype)
        self.blocks = [make_block(**options) for _ in range(self.depth)]
        self.norm = LayerNorm(epsilon=1e-6, dtype=self.dtype)

    def __call__(
        self, x: jax.Array, kept: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Images [B, H, W, C] -> features [B, width]: the class token or the mean of patches.

        kept [B, K]: indices of the patches that are seen; None: all.
        """
        h = self.tokens(x, kept, train=train)
        return h[:, 0] if self.pool == 'class' else h[:, self.class_token :].mean(1)

    def tokens(
        self,
        x: jax.Array,
        kept: jax.Array | None = None,
        masked: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """-> [B, 1 + T, width], the class token first (if there is one), then the patches.

        kept [B, K]: indices of patches; the others are left out -> [B, 1 + K, width].
        masked [B, T]: where a learned token, with the patch's position, stands for the patch.
        """
        return self.through(self.prepare(x, kept, masked), train)

    def pair(self, x: jax.Array, train: bool = False) -> jax.Array:
        """-> [B, 2, width]: the class token, and a second one beside it that has no position.

        Touvron et al. 2020, section 4: the second is for what a teacher says.
        """
        if not self.class_token:
            raise Mistake('a vit without a class token has no pair; type class_token=True')
        x = self.prepare(x, None)
        second = jnp.broadcast_to(self.second_token(), (len(x), 1, self.width)).astype(x.dtype)
        return self.through(jnp.concatenate([x, second], 1), train)[:, jnp.array([0, -1])]

    def through(self, x, train):
        """All blocks and the last norm."""
        for block in self.blocks:
            x = block(x, train, False)
        return self.norm(x)

    def attention(self, x: jax.Array) -> jax.Array:
        """Attention of the class token over the patch grid in the last block [B, heads, h, w]."""
        if not self.class_token:
            raise Mistake('a vit without a class token has no map of it; type class_token=True')
        h, w = x.shape[1] // self.patch, x.shape[2] // self.patch
        x = self.prepare(x, None)
        for block in self.blocks[:-1]:
            x = block(x, False, False)
        maps = self.blocks[-1](x, False, True)  # [B, heads, 1 + T, 1 + T]
        return maps[:, :, 0, 1:].reshape(*maps.shape[:2], h, w)

    def prepare(self, x, kept, masked=None):
        """The class token, if there is one, then embedded patches; positions are added."""
        x = patchify(x, self.patch)
        (B, h, w, _), positions = x.shape, self.where(*x.shape[1:3])
        x, of_class = x.reshape(B, h * w, x.shape[-1]), positions[: self.class_token]
        positions = jnp.broadcast_to(positions[self.class_token :], (B, h * w, self.width))
        if kept is not None:  # before the embedding: a masked patch costs nothing
            x, positions = take(x, kept), take(positions, kept)
        x = self.embed(x)
        if masked is not None:
            x = jnp.where(masked[..., None], self.mask_token().astype(x.dtype), x)
        x = shift(x, positions)
        if self.class_token:
            token = jnp.broadcast_to(self.token + of_class, (B, 1, self.width))
            x = jnp.concatenate([token.astype(x.dtype), x], 1)
        return x

    def where(self, h: int, w: int) -> jax.Array:
        """Positions [1 + h * w, width]; learned ones are resized to the grid of the input."""
        if self.positions == 'sincos':
            return jnp.pad(sincos(h, w, self.width), ((int(self.class_token), 0), (0, 0)))
        side = self.size // self.patch
        if (h, w) == (side, side):
            return self.place
        of_class, of_patches = jnp.split(self.place, [int(self.class_token)])
        of_patches = of_patches.reshape(side, side, self.width)
        of_patches = jax.image.resize(of_patches, (h, w, self.width), 'cubic', antialias=False)
        return jnp.concatenate([of_class, of_patches.reshape(h * w, self.width)])


class Decoder(nn.Module):
    """Puts a learned token in place of each masked patch and predicts the pixels of all patches."""

    patch: int
    width: int
    depth: int
    block: dict
    channels: int
    class_token: bool
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array, kept: jax.Array, grid: tuple[int, int]) -> jax.Array:
        """tokens [B, 1 + K, D] at kept [B, K] of a grid h x w -> [B, h * w, patch^2 C]."""
        (h, w), cls = grid, int(self.class_token)
        x = Dense(self.width, kernel_init='xavier', dtype=self.dtype, name='embed')(tokens)
        mask = self.param('mask_token', nn.initializers.normal(0.02), (1, 1, self.width))
        full = jnp.broadcast_to(mask, (len(x), h * w, self.width)).astype(x.dtype)
        full = jax.vmap(lambda f, i, y: f.at[i].set(y))(full, kept, x[:, cls:])
        full = full + sincos(h, w, self.width).astype(x.dtype)
        x = jnp.concatenate([x[:, :cls], full], 1)
        for i in range(self.depth):
            options = dict(self.block, dropout=0.0, dtype=self.dtype, name=f'blocks_{i}')
            x = make_block(**options)(x, False, False)
        x = LayerNorm(epsilon=1e-6, dtype=self.dtype, name='norm')(x[:, cls:])
        out = Dense(self.patch**2 * self.channels, kernel_init='xavier', dtype=self.dtype)
        return out(x).astype(jnp.float32)


def _block(width: int, heads: int, expand: float, activation: str, remat: bool) -> dict:
    check(activation=activation)
    if width % heads or width % 4:
        raise Mistake(f'width {width} must be a multiple of 4 and of {heads} heads')
    return dict(
        heads=heads, expand=expand, norm='token', positions='given', activation=activation,
        bias=True, normalize_qk=False, scale=1.0, kernel_init='xavier', init_out='xavier',
        causal=False, remat=remat,
    )  # fmt: skip


def vit(
    *,
    patch: Count = 16,
    width: Count = 384,
    depth: Count = 12,
    heads: Count = 6,
    expand: Positive = 4,
    activation: Activation = 'gelu',
    size: Count = 224,
    positions: Literal['learned', 'sincos'] = 'learned',
    class_token: bool = True,
    pool: Literal['class', 'mean'] = 'class',
    dropout: Decay = 0.0,
    remat: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] of any size that patches divide -> features [B, width].

    patch: the side of a patch in pixels.
    width: of the tokens.
    depth: the number of blocks.
    heads: of attention, in each block.
    expand: the hidden width of a block's mlp, over `width`.
    activation: of the mlp, a name of `layers.ACTIVATIONS`.
    size: of the images for which positions are learned.
    positions: learned (resized for images of another size) or sincos (fixed).
    class_token: whether there is a token before those of the patches.
    pool: class (the class token) or mean (of the other tokens).
    dropout: its rate.
    remat: whether blocks are computed again in the backward pass, which takes less memory.
    dtype: of the computation; None: that of inputs and params.
    """
    block = _block(width, heads, expand, activation, remat)
    choose(positions, ('learned', 'sincos'), 'positions')
    choose(pool, ('class', 'mean'), 'pool')
    if pool == 'class' and not class_token:
        raise Mistake('pool=class needs a class token; type class_token=True or pool=mean')
    if size % patch:
        raise Mistake(f'size {size} is no multiple of patch {patch}; type size={14 * patch}')
    return ViT(patch, width, depth, block, size, positions, class_token, pool, dropout, dtype)


# params with patch 16 at 224, without a head
vit_tiny = functools.partial(vit, width=192, heads=3)  # 5,524,416
vit_small = functools.partial(vit, width=384, heads=6)  # 21,665,664
vit_base = functools.partial(vit, width=768, heads=12)  # 85,798,656


def vit_decoder(
    *,
    patch: Count = 16,
    width: Count = 512,
    depth: Count = 8,
    heads: Count = 16,
    expand: Positive = 4,
    activation: Activation = 'gelu',
    channels: Count = 3,
    class_token: bool = True,
    remat: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """The decoder of a masked autoencoder: He et al. 2021, arXiv:2111.06377, section 3.

    patch, channels: the side of a patch in pixels, and the channels of a pixel.
    width, depth, heads, expand, activation, remat: of the decoder's blocks, as of `vit`.
    class_token: whether the encoder's tokens begin with a class token.
    dtype: of the computation; None: that of inputs and params.
    """
    block = _block(width, heads, expand, activation, remat)
    return Decoder(patch, width, depth, block, channels, class_token, dtype)
