"""Multi-layer perceptrons: projectors, predictors, heads, small encoders."""

from typing import Any

import flax.linen as nn
import jax

from ssljax.kinds import Counts, Decay, Dtype
from ssljax.names import Mistake
from ssljax.nets.layers import Activation, Dense, Init, Norm, activate, check, normalize


class MLP(nn.Module):
    dims: tuple[int, ...]
    norm: str | None
    activation: str
    bias: bool
    last_norm: bool
    last_activation: bool
    dropout: float
    flatten: bool
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if self.flatten:
            x = x.reshape(len(x), -1)
        for i, dim in enumerate(self.dims):
            last = i == len(self.dims) - 1
            norm = self.norm if not last or self.last_norm else None
            # a bias before a batch norm would be subtracted again
            bias = self.bias and norm != 'batch'
            x = Dense(dim, bias=bias, kernel_init=self.kernel_init, dtype=self.dtype)(x)
            x = normalize(x, norm, train=train, dtype=self.dtype)
            if not last or self.last_activation:
                x = activate(x, self.activation)
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x


def mlp(
    *,
    dims: Counts = (2048, 128),
    norm: Norm = None,
    activation: Activation = 'relu',
    bias: bool = True,
    last_norm: bool = False,
    last_activation: bool = False,
    dropout: Decay = 0.0,
    flatten: bool = False,
    kernel_init: Init = 'lecun',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Dense layers [..., C] -> [..., dims[-1]] with norm and activation between them.

    dims: the width of each layer.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    activation: a name of `layers.ACTIVATIONS`.
    bias: whether layers have one; before a batch norm none has.
    last_norm, last_activation: whether norm and activation also follow the last layer.
    dropout: its rate, after each activation.
    flatten: whether an example of any shape becomes one vector.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm, activation)
    if not dims:
        raise Mistake('an mlp needs at least one layer, found dims=(); type dims=(2048, 128)')
    last = (last_norm, last_activation)
    return MLP(tuple(dims), norm, activation, bias, *last, dropout, flatten, kernel_init, dtype)
