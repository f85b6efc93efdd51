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


# On a CPU, XLA's own convolutions are slow for large images and for strides. The forms below are
# matrix products over a few images at a time, so that shifted copies of them stay in the cache.


def _chunks(count: int, pixels: int, most: int = 2048) -> int:
    """How many of `count` images to take at a time: about `most` output pixels."""
    wanted = max(1, min(count, most // pixels))
    even = max(n for n in range(1, wanted + 1) if count % n == 0)
    return even if 2 * even > wanted else wanted  # the last chunk is then filled with zeros


def _cut(x: jax.Array, n: int) -> jax.Array:
    """[B, ...] -> [chunks, n, ...], filled with zeros."""
    count = -(-len(x) // n)
    fill = [(0, count * n - len(x))] + [(0, 0)] * (x.ndim - 1)
    return (jnp.pad(x, fill) if fill[0][1] else x).reshape(count, n, *x.shape[1:])


def _in_chunks(function: Callable, x: jax.Array, form: Form) -> jax.Array:
    """function(x) for x [B, ...], some images at a time."""
    n = _chunks(len(x), form.out[0] * form.out[1])
    y = lax.map(function, _cut(x, n))
    return y.reshape(len(y) * n, *y.shape[2:])[: len(x)]


def _columns(x: jax.Array, form: Form) -> list[jax.Array]:
    """The pixels under the kernel: matrices [B Ho Wo, K], for w [kh kw C, D] cut in order.

    A matrix for each row of the kernel; of few channels one for all, since it would be too narrow.
    """
    (kh, kw), (Ho, Wo), s, C = form.kernel, form.out, form.stride, x.shape[-1]
    x = jnp.pad(x, ((0, 0), *form.pads, (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + (Wo - 1) * s + 1 : s] for j in range(kw)], -1)
    rows = [x[:, i : i + (Ho - 1) * s + 1 : s] for i in range(kh)]
    if C < 16:
        rows = [jnp.concatenate(rows, -1)]
    return [r.reshape(-1, r.shape[-1]) for r in rows]


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.promote_types(a.dtype, jnp.float32))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _output(x, w, form):
    (Ho, Wo), D = form.out, w.shape[-1]
    if form.stride == 1 and Ho * Wo <= 256:
        return _convolve(x, w, form)

    def some(x):
        columns = _columns(x, form)
        parts = w.reshape(len(columns), -1, D)
        y = sum(map(_product, columns, parts))
        return y.astype(x.dtype).reshape(len(x), Ho, Wo, D)

    return _in_chunks(some, x, form)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _input(g, w, form):
    """The gradient for x [B, H, W, C], of g [B, Ho, Wo, D] and w."""
    (H, W), (kh, kw), (Ho, Wo), s = form.extent, form.kernel, form.out, form.stride
    C, D = w.shape[2:]
    if s == 1:  # a convolution, too: its kernel is turned by half and maps D to C
        pads = [(k - 1 - p, k - 1 - q) for k, (p, q) in zip((kh, kw), form.pads, strict=True)]
        if min(map(min, pads)) >= 0:
            back = Form(form.kernel, form.out, 1, tuple(pads))
            return _output(g, w[::-1, ::-1].swapaxes(2, 3), back)
        shape = jax.ShapeDtypeStruct((len(g), H, W, C), g.dtype)
        return jax.linear_transpose(lambda x: _convolve(x, w, form), shape)(g)[0]
    matrix = w.reshape(-1, D).T

    def some(g):
        """A sum of kh * kw shifted matrix products."""
        taps = _product(g.reshape(-1, D), matrix).reshape(len(g), Ho, Wo, kh, kw, C)

        def shift(i, j):
            ends = [
                (t - p[0], n + p[0] - t - (m - 1) * s - 1, s - 1)
                for t, p, n, m in zip((i, j), form.pads, (H, W), (Ho, Wo), strict=True)
            ]
            return lax.pad(taps[:, :, :, i, j], taps.dtype.type(0), [(0, 0, 0), *ends, (0, 0, 0)])

        return sum(shift(i, j) for i in range(kh) for j in range(kw)).astype(g.dtype)

    return _in_chunks(some, g, form)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _weight(x, g, form):
    """The gradient for w [k, k, C, D], of x and g [B, Ho, Wo, D]."""
    (Ho, Wo), C, D = form.out, x.shape[-1], g.shape[-1]
    if form.stride == 1 and 16 <= C < 64 and len(x) * Ho * Wo <= 8192:
        return _small_weight(x, g, form)
    n = _chunks(len(x), Ho * Wo, 2048 if C >= 16 else 4096)

    def add(dw, x_and_g):
        x, g = x_and_g
        g = g.reshape(-1, D).T  # transposed, it is the faster side of the product
        parts = [_product(g, columns) for columns in _columns(x, form)]
        return [old + new for old, new in zip(dw, parts, strict=True)], None

    size = form.kernel[0] * form.kernel[1] * C
    parts = 1 if C < 16 else form.kernel[0]
    zeros = [jnp.zeros((D, size // parts), jnp.promote_types(x.dtype, jnp.float32))] * parts
    dw, _ = lax.scan(add, zeros, (_cut(x, n), _cut(g, n)))
    return jnp.concatenate(dw, 1).T.reshape(*form.kernel, C, D).astype(x.dtype)


def _small_weight(x, g, form):
    """_weight of few channels and pixels, where copies cost more than products: one product.

    The rows of the kernel are copies of g rather than of x, whose copies are kw C channels wide.
    """
    (kh, kw), Wo, C, D = form.kernel, form.out[1], x.shape[-1], g.shape[-1]
    x = jnp.pad(x, ((0, 0), *form.pads, (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + Wo] for j in range(kw)], -1)  # [B, Ho + kh - 1, Wo, kw C]
    rows = [((0, 0), (i, kh - 1 - i), (0, 0), (0, 0)) for i in range(kh)]
    g = jnp.concatenate([jnp.pad(g, row) for row in rows], -1)  # [B, Ho + kh - 1, Wo, kh D]
    dw = _product(g.reshape(-1, kh * D).T, x.reshape(-1, kw * C))
    return dw.reshape(kh, D, kw, C).transpose(0, 2, 3, 1).astype(x.dtype)


def _gradients(function, first, second):
    """Sets the gradients of function(a, b, form) for a and for b: first, second(a, b, c, form)."""
    function.defvjp(
        lambda a, b, form: (function(a, b, form), (a, b)),
        lambda form, saved, c: (first(*saved, c, form), second(*saved, c, form)),
    )


_gradients(_output, lambda x, w, g, f: _input(g, w, f), lambda x, w, g, f: _weight(x, g, f))
_gradients(_input, lambda g, w, x, f: _output(x, w, f), lambda g, w, x, f: _weight(x, g, f))
_gradients(_weight, lambda x, g, w, f: _input(g, w, f), lambda x, g, w, f: _output(x, w, f))
