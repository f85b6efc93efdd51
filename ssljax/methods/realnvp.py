"""Real NVP: an invertible net maps data to normal noise, and its log determinant gives p(x).

Dinh et al. 2016, arXiv:1605.08803; with additive couplings NICE, Dinh et al. 2014, arXiv:1410.8516.
Bytes get uniform noise of one level, and their readout is `bound`; floats have an exact `log_prob`.
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from ssljax.kinds import NetSpec, NonNegative, Range
from ssljax.losses import bits_per_dim, change_of_variables, dequantize
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets, make
from ssljax.nets.flow import Chain, Logit


def realnvp(
    run: Run,
    *,
    flow: NetSpec = dict(name='flow_image'),  # x [B, ...] <-> z [B, D]
    alpha: Annotated[float, Range(0, 0.4, open=True)] = 0.05,  # of the logit, for bytes
    noise: bool = True,  # in training; without it the density of levels rises forever
) -> Method:
    if run.vocab:
        raise Mistake('realnvp needs numbers, and this data is text; type another data.name')
    shape, coded = run.row['x'].shape, run.row['x'].dtype == jnp.uint8
    dims = math.prod(shape)
    flow = make(flow, shape=shape, dtype=run.dtype)
    nets = Nets(flow=Chain((Logit(alpha), flow)) if coded else flow)

    def levels(x):  # [-1, 1] -> 0 to 255
        return jnp.round(127.5 * (x + 1))

    def noisy(key, x):  # bytes -> [0, 1)
        return dequantize(key, levels(x)) if coded else x

    def middle(x):  # of each level
        return (levels(x) + 0.5) / 256 if coded else x

    def log_p(net, y):  # eq. 2, of a byte's mass: [B]
        return -change_of_variables(*net.flow(y)) - coded * dims * math.log(256)

    def learned(key, x):
        return noisy(key, x) if noise else middle(x)

    def init(key, batch):  # actnorm starts from this batch
        k1, k2 = jax.random.split(key)
        params, _, _ = nets.init(k1, lambda net, y: net.flow(y), learned(k2, batch['x']))
        return params, {}

    def loss(key, state, batch):
        nats = -log_p(nets(state.params), learned(key, batch['x'])).mean()
        return nats / dims, state.memory, {'bits_per_dim': bits_per_dim(nats, dims)}

    def likelihood(key, state, batch):
        return log_p(nets(state.params), noisy(key, batch['x']))

    def encode(key, state, batch):
        return nets(state.params).flow(middle(batch['x']))[0]

    def decode(state, z):
        return nets(state.params).flow(z, method='inverse')

    def reconstruct(key, state, batch):  # the error is that of the inverse
        y = decode(state, encode(key, state, batch))
        return {'reconstruction': (256 * y - 0.5) / 127.5 - 1 if coded else y}

    def sample(key, state, batch, *, temperature: NonNegative = 1.0):
        y = decode(state, temperature * jax.random.normal(key, (len(batch['x']), dims)))
        return jnp.clip(jnp.floor(256 * y), 0, 255) / 127.5 - 1 if coded else y

    readouts = {'bound' if coded else 'log_prob': likelihood}
    readouts |= {f.__name__: f for f in (encode, reconstruct, sample)}
    return Method(init, {'flow': Turn(loss)}, readouts=readouts)
