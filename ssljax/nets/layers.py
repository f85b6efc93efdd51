"""Dense and convolutional layers, each in the form that is fast on its backend."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ssljax.kinds import NonNegative
from ssljax.names import Mistake, choose

INITIALIZERS = {
    'lecun': nn.initializers.lecun_normal(),  # variance 1 / fan in
    'he': nn.initializers.he_normal(),  # 2 / fan in
    'he_out': nn.initializers.variance_scaling(2.0, 'fan_out', 'normal'),  # 2 / fan out
    'xavier': nn.initializers.xavier_uniform(),
    'uniform': nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform'),  # +-1 / sqrt(fan in)
    'normal': nn.initializers.normal(0.02),
    'zeros': nn.initializers.zeros,
}
ACTIVATIONS = {
    'relu': jax.nn.relu,
    'relu2': lambda x: jnp.square(jax.nn.relu(x)),
    'leaky_relu': lambda x: jax.nn.leaky_relu(x, 0.2),
    'gelu': lambda x: jax.nn.gelu(x, approximate=True),
    'silu': jax.nn.silu,
    'tanh': jnp.tanh,
    'none': lambda x: x,
}
NORMS = ('None', 'batch', 'layer', 'instance', 'token', 'rms')
# kinds of options
Norm = Literal[NORMS[1:]] | None
Activation = Literal[tuple(ACTIVATIONS)]
Init = Literal[tuple(INITIALIZERS)] | NonNegative


def check(norm: str | None = None, activation: str = 'relu') -> None:
    """Raises a Mistake for unknown names, before anything is traced."""
    choose(str(norm), NORMS, 'norm')
    choose(activation, ACTIVATIONS, 'activation')


def initializer(init: str | float | Callable) -> Callable:
    """An initializer by name, or the standard deviation of a normal one."""
    if callable(init):
        return init
    if isinstance(init, (int, float)):
        return nn.initializers.normal(init)
    return INITIALIZERS[choose(init, INITIALIZERS, 'initializer')]


def activate(x: jax.Array, activation: str) -> jax.Array:
    """The activation of that name."""
    return ACTIVATIONS[choose(activation, ACTIVATIONS, 'activation')](x)


def normalize(x: jax.Array, kind: str | None, *, train: bool, dtype: Any, **options) -> jax.Array:
    """A normalization layer by name, inside a compact module; its statistics are float32.

    batch: over all rows of the global batch; layer: over all but the first axis, one gain per
    channel; instance: over the axes between, one mean and gain per channel (Ulyanov et al. 2016,
    arXiv:1607.08022); token: over the last axis; rms: over the last axis, no center and no gain.
    """
    if kind is None:
        return x
    if kind == 'rms':
        return rms(x)
    if kind == 'batch':
        norm = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype, **options)
    else:
        axes = -1 if kind == 'token' else tuple(range(1, x.ndim - (kind == 'instance')))
        norm = nn.LayerNorm(epsilon=1e-5, reduction_axes=axes, dtype=dtype, **options)
    return norm(x)


def rms(x: jax.Array) -> jax.Array:
    """x divided by its root mean square along the last axis, no gain (Zhang & Sennrich 2019)."""
    y = x.astype(jnp.float32)
    return (y * lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + 1e-6)).astype(x.dtype)


def shift(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """y + bias, added in the dtype of the bias: its gradient, a sum over all rows and pixels, would
    stop growing in bfloat16."""
    return y if bias is None else (y + bias).astype(y.dtype)


def some(dim: int) -> None:
    """Refuses a layer without outputs, whose width another option made zero."""
    if dim < 1:
        raise Mistake(f'a layer has {dim} outputs; type a larger width, or expand')


class Dense(nn.Module):
    """x @ kernel + bias on the last axis: kernel [Cin, Cout], bias [Cout]."""

    dim: int
    bias: bool = True
    kernel_init: str | float | Callable = 'lecun'
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        some(self.dim)
        kernel = self.param('kernel', initializer(self.kernel_init), (x.shape[-1], self.dim))
        bias = self.param('bias', nn.initializers.zeros, (self.dim,)) if self.bias else None
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        # as one matrix: on a CPU, XLA is a third slower for a product with two row axes
        y = shift(x.reshape(-1, x.shape[-1]) @ kernel, bias)
        return y.reshape(*x.shape[:-1], self.dim)


class Conv(nn.Module):
    """A convolution of [B, H, W, Cin] by kernel [k, k, Cin, Cout]."""

    dim: int
    kernel: int = 3
    stride: int = 1
    padding: str | int = 'SAME'  # SAME, VALID, or pixels on every side
    bias: bool = True
    kernel_init: str | float | Callable = 'lecun'
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.dim)
        kernel = self.param('kernel', initializer(self.kernel_init), shape)
        bias = self.param('bias', nn.initializers.zeros, (self.dim,)) if self.bias else None
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return shift(convolve(x, kernel, stride=self.stride, padding=self.padding), bias)


class ConvTranspose(nn.Module):
    """Doubles [B, H, W, Cin] to [B, 2 H, 2 W, Cout] by a 4x4 transposed convolution, stride 2."""

    dim: int
    bias: bool = True
    kernel_init: str | float | Callable = 'lecun'
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', initializer(self.kernel_init), (4, 4, x.shape[-1], self.dim))
        bias = self.param('bias', nn.initializers.zeros, (self.dim,)) if self.bias else None
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return shift(convolve_transpose(x, kernel), bias)


# A convolution is linear in x, in w, and with a gradient g in <conv(x, w), g>. So there are three
# functions: the output, the gradient for x, the gradient for w; each has the other two as its
# gradients. The rules below say so, and give reverse mode of any order. Forward mode: native=True.


class Form(NamedTuple):
    """What is static in a convolution."""

    kernel: tuple[int, int]
    extent: tuple[int, int]  # of the input
    stride: int
    pads: tuple[tuple[int, int], tuple[int, int]]

    @property
    def out(self) -> tuple[int, int]:
        sizes = zip(self.extent, self.kernel, self.pads, strict=True)
        return tuple((n + sum(p) - k) // self.stride + 1 for n, k, p in sizes)


def one_cpu() -> bool:
    return jax.default_backend() == 'cpu' and jax.device_count() == 1


def convolve(
    x: jax.Array,
    w: jax.Array,
    *,
    stride: int = 1,
    padding: str | int = 'SAME',
    native: bool | None = None,
) -> jax.Array:
    """x [B, H, W, Cin] convolved with w [k, k, Cin, Cout].

    padding: SAME, VALID, or pixels on every side.
    native: whether the gradients are those of lax, which XLA can partition over devices, or ours,
    which are 2 to 10 times faster on a CPU. None: ours on a single CPU device, else lax's.
    """
    if isinstance(padding, str):
        pads = lax.padtype_to_pads(x.shape[1:3], w.shape[:2], (stride, stride), padding)
    else:
        pads = ((padding, padding),) * 2
    form = Form(w.shape[:2], x.shape[1:3], stride, tuple(map(tuple, pads)))
    native = not one_cpu() if native is None else native
    return (_convolve if native else _output)(x, w, form)


def convolve_transpose(x: jax.Array, w: jax.Array, *, native: bool | None = None) -> jax.Array:
    """x [B, H, W, Cin] -> [B, 2 H, 2 W, Cout] by w [4, 4, Cin, Cout]: stride 2, padding SAME.

    Equal to lax.conv_transpose. Not native, it is one 2x2 convolution to the four phases of the
    output: phase (a, b) uses taps (a, a + 2) x (b, b + 2), at offset (a, b).
    """
    native = not one_cpu() if native is None else native
    if native:
        return lax.conv_transpose(x, w, (2, 2), 'SAME')
    B, H, W, C = x.shape
    phases = w.reshape(2, 2, 2, 2, C, -1).transpose(0, 2, 4, 1, 3, 5)  # [2, 2, C, a, b, D]
    y = convolve(x, phases.reshape(2, 2, C, -1), padding=1, native=False)  # [B, H+1, W+1, 4 D]
    y = y.reshape(B, H + 1, W + 1, 2, 2, -1)
    rows = [jnp.stack([y[:, a : a + H, b : b + W, a, b] for b in (0, 1)], 3) for a in (0, 1)]
    return jnp.stack(rows, 2).reshape(B, 2 * H, 2 * W, -1)  # [B, H, a, W, b, D]


def _convolve(x: jax.Array, w: jax.Array, form: Form) -> jax.Array:
    axes = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(x, w, (form.stride,) * 2, form.pads, dimension_numbers=axes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _output(x, w, form):
    return _convolve(x, w, form)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input(g, w, form):
    """The gradient for x [B, H, W, C], of g [B, Ho, Wo, D] and w."""
    (H, W), (kh, kw), (Ho, Wo), s = form.extent, form.kernel, form.out, form.stride
    B, C, D = len(g), *w.shape[2:]
    if s == 1 or Ho * Wo > 64:
        shape = jax.ShapeDtypeStruct((B, H, W, C), g.dtype)
        return jax.linear_transpose(lambda x: _convolve(x, w, form), shape)(g)[0]
    # a sum of k * k shifted matrix products: for small images five times faster than the native one
    taps = (g.reshape(-1, D) @ w.reshape(-1, D).T).reshape(B, Ho, Wo, kh, kw, C)
    zero = jnp.zeros((), g.dtype)

    def shift(i, j):
        ends = [
            (t - p[0], n + p[0] - t - (m - 1) * s - 1, s - 1)
            for t, p, n, m in zip((i, j), form.pads, (H, W), (Ho, Wo), strict=True)
        ]
        return lax.pad(taps[:, :, :, i, j], zero, [(0, 0, 0), *ends, (0, 0, 0)])

    return sum(shift(i, j) for i in range(kh) for j in range(kw))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight(x, g, form):
    """The gradient for w [k, k, C, D], of x and g [B, Ho, Wo, D]."""
    (kh, kw), (Ho, Wo), s, dtype = form.kernel, form.out, form.stride, x.dtype
    B, C, D = len(x), x.shape[-1], g.shape[-1]
    if Ho * Wo <= 16:
        shape = jax.ShapeDtypeStruct((kh, kw, C, D), dtype)
        return jax.linear_transpose(lambda w: _convolve(x, w, form), shape)(g)[0]
    # chunks of about 2048 output pixels, whose shifted copies stay in the cache
    chunk = min(B, max(1, 2048 // (Ho * Wo)))
    fill = -B % chunk
    x = jnp.pad(x, ((0, fill), *form.pads, (0, 0)))
    g = jnp.pad(g, ((0, fill), (0, 0), (0, 0), (0, 0)))

    def add(dw, x_and_g):
        x, g = x_and_g  # [n, H + pads, W + pads, C], [n, Ho, Wo, D]
        cols = jnp.concatenate([x[:, :, j : j + (Wo - 1) * s + 1 : s] for j in range(kw)], -1)
        rows = [cols[:, i : i + (Ho - 1) * s + 1 : s].reshape(-1, kw * C) for i in range(kh)]
        g = g.reshape(-1, D)
        return dw + jnp.stack([(r.T @ g).astype(jnp.float32) for r in rows]), None

    chunks = jax.tree.map(lambda a: a.reshape(-1, chunk, *a.shape[1:]), (x, g))
    dw, _ = lax.scan(add, jnp.zeros((kh, kw * C, D), jnp.float32), chunks)
    return dw.reshape(kh, kw, C, D).astype(dtype)


def _gradients(function, first, second):
    """Sets the gradients of function(a, b, form) for a and for b: first, second(a, b, c, form)."""
    function.defvjp(
        lambda a, b, form: (function(a, b, form), (a, b)),
        lambda form, saved, c: (first(*saved, c, form), second(*saved, c, form)),
    )


_gradients(_output, lambda x, w, g, f: _input(g, w, f), lambda x, w, g, f: _weight(x, g, f))
_gradients(_input, lambda g, w, x, f: _output(x, w, f), lambda g, w, x, f: _weight(x, g, f))
_gradients(_weight, lambda x, g, w, f: _input(g, w, f), lambda x, g, w, f: _output(x, w, f))
