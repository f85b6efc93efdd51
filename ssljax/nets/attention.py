"""Attention, in the form that is fast on its backend."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.nets.layers import one_cpu

BLOCKS = 4  # of queries, in a causal attention on a CPU: more of them skip little more
FLASH = (jnp.bfloat16, jnp.float16)


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    scale: float,
    causal: bool = False,
    lengths: jax.Array | None = None,
    native: bool | None = None,
) -> jax.Array:
    """softmax(scale * q k^T) v in each head: q, k, v [B, T, H, e] -> [B, T, H, e].

    causal: whether a token sees only itself and those before it.
    lengths: int [B], so many tokens of each row are seen, at least one; None: all.
    native: whether it is jax.nn.dot_product_attention, which XLA can partition over devices and a
    GPU has as one kernel, or ours, which takes a third of the time on a CPU. None: ours on a single
    CPU device, else jax's.
    """
    native = not one_cpu() if native is None else native
    if native:
        return jax.nn.dot_product_attention(
            q, k, v, scale=scale, is_causal=causal, key_value_seq_lengths=lengths,
            implementation='cudnn' if flash(q) else None,
        )  # fmt: skip
    B, T, H, e = q.shape
    # plain matrices [B * H, T, e]: with heads as an inner axis each product would copy its operands
    q, k, v = (a.swapaxes(1, 2).reshape(B * H, T, e) for a in (q, k, v))
    size = -(-T // BLOCKS) if causal else T
    blocks = []
    for start in range(0, T, size):
        stop = min(start + size, T)
        seen = stop if causal else T  # keys beyond are behind every query of the block
        bias = hidden(start, stop, seen) if causal else np.float32(0)
        if lengths is not None:
            beyond = jnp.arange(seen) >= lengths[:, None]  # [B, S]
            bias = bias + jnp.where(beyond, -jnp.inf, 0.0).repeat(H, 0)[:, None]
        blocks.append(block(q[:, start:stop], k[:, :seen], v[:, :seen], scale, bias))
    return jnp.concatenate(blocks, 1).reshape(B, H, T, e).swapaxes(1, 2)


def block(q, k, v, scale, bias):
    """q [N, t, e], k and v [N, S, e], bias [..., t, S] of the scores -> [N, t, e]."""
    s = jnp.matmul(q, k.mT, preferred_element_type=jnp.float32) * scale + bias
    # the maximum is any number to the derivative, since it cancels
    p = jnp.exp(s - jax.lax.stop_gradient(s.max(-1, keepdims=True)))
    # divided after the product: e numbers of a query, not S, and nothing to derive inside
    y = jnp.matmul(p.astype(v.dtype), v, preferred_element_type=jnp.float32)
    return (y / p.sum(-1, keepdims=True)).astype(v.dtype)


def hidden(start: int, stop: int, seen: int) -> np.ndarray:
    """The bias of scores [stop - start, seen] that hides from a query the keys after it."""
    later = np.arange(seen) > np.arange(start, stop)[:, None]
    return np.where(later, -np.inf, 0).astype(np.float32)


def flash(q: jax.Array) -> bool:
    """Whether cuDNN has one kernel for this: of 16 bits, on an Ampere GPU or later."""
    if jax.default_backend() != 'gpu' or q.dtype not in FLASH or q.shape[-1] % 8:
        return False
    generation = str(getattr(jax.local_devices()[0], 'compute_capability', '0'))
    return q.shape[-1] <= 128 and '.' in generation and float(generation) >= 8
