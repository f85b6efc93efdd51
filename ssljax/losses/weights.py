"""Norms and penalties of the weights of a layer, without any data.

>>> sigma, _ = spectral_norm(jnp.diag(jnp.array([3.0, 1.0])), jnp.ones(2), rounds=20)
>>> print(f'{sigma:.4f}')
3.0000
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import precise, unit
from ssljax.losses._shapes import ArrayLike, arrays


def spectral_norm(
    kernel: ArrayLike, u: ArrayLike, *, rounds: int = 1
) -> tuple[jax.Array, jax.Array]:
    """The largest singular value of a kernel by power iteration, and the state of the iteration.

    Miyato et al. 2018, arXiv:1802.05957, algorithm 1: with W the kernel as a matrix [inputs, outs],
        v = W u / |W u|,  u = W^T v / |W^T v|,  and then  sigma = v^T W u.
    kernel [..., outs], u [outs] -> sigma, u. A critic's layer applies kernel / sigma, and keeps u
    for the next step; at first it is a draw of N(0, 1). Gradients flow through W alone, as there.

    rounds: of the power method. One is enough where weights change slowly.

    >>> print(spectral_norm([[0.0, 2.0]], [1.0, 1.0])[0])
    2.0
    """
    kernel, u = arrays('... O', 'O', kernel=kernel, u=u)
    matrix = precise(kernel).reshape(-1, kernel.shape[-1])
    fixed, start = lax.stop_gradient((matrix, precise(u)))

    def again(_, u_and_v):
        v = unit(jnp.matmul(fixed, u_and_v[0], precision='highest'))
        return unit(jnp.matmul(v, fixed, precision='highest')), v

    last, v = lax.fori_loop(0, rounds, again, (start, jnp.zeros_like(fixed[:, 0])))
    sigma = jnp.vdot(v, jnp.matmul(matrix, last, precision='highest'), precision='highest')
    return sigma, last


def orthogonal_penalty(kernel: ArrayLike, *, diagonal: bool = False) -> jax.Array:
    """How far the columns of a kernel are from being orthogonal, a scalar.

    Brock et al. 2018, arXiv:1809.11096, section 3.1: with W the kernel as a matrix [inputs, outs],
        |W^T W o (1 - I)|_F^2;  with the diagonal, as Brock et al. 2016, arXiv:1609.07093:
        |W^T W - I|_F^2.
    kernel [..., outs] -> []. The paper's weight of it is 1e-4.

    diagonal: whether columns should have length one, too.

    >>> print(orthogonal_penalty([[1.0, 1.0]]))
    2.0
    """
    (kernel,) = arrays('... O', kernel=kernel)
    matrix = precise(kernel).reshape(-1, kernel.shape[-1])
    gram = jnp.matmul(matrix.T, matrix, precision='highest')
    one = jnp.eye(len(gram), dtype=gram.dtype)
    return jnp.square(gram - one if diagonal else gram * (1 - one)).sum()
