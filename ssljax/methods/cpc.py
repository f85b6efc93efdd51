"""CPC: from all that was seen so far, the latents to come are told from those of other examples.

van den Oord et al. 2018, arXiv:1807.03748.

The defaults are those of images: patches, predicted row by row. Waves: encoder=dict(
name='time_delay'), context=dict(name='gru'), ahead=12, view=dict(name='identity') and
features='context'. The paper draws its negatives; ours are the same place of all other rows of the
batch, and with all_places all places of all rows. Its images are gray, from boxes of one size, each
patch is cut again by itself and seen by three stages of a ResNet-101; here boxes differ in size,
colors stay, and a patch is seen by four convolutions.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.kinds import Count, Natural, NetSpec, ViewSpec
from ssljax.losses import places
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def cpc(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='patch_grid'),  # -> latents [B, T, ..., D], T in their order
    context: NetSpec = dict(name='row_context'),  # the same shape; sees no later place of T
    view: ViewSpec = dict(name='crop', size=256),
    ahead: Count = 5,  # steps that are predicted
    skip: Natural = 0,  # nearest steps that are not, as their patches overlap
    all_places: bool = False,  # whether all places of all rows are negatives
    features: Literal['latents', 'context'] = 'latents',  # whose mean `encode` gives
) -> Method:
    nets = Nets(
        encoder=encoder, context=context, forecast=dict(name='forecast', steps=ahead),
        dtype=run.dtype,
    )  # fmt: skip
    view, most = augment.make(view), skip + ahead
    steps = range(skip + 1, most + 1)

    def forward(net, x):
        z = net.encoder(x)  # z_t = g_enc(x_t)
        c = net.context(z)  # c_t = g_ar(z_1 ... z_t)
        if z.shape[1] <= most:
            raise Mistake(
                f'cpc has {z.shape[1]} places in order, too few to look {most} ahead;'
                f' type model.ahead={max(z.shape[1] - 1 - skip, 1)}'
            )
        return z, c, net.forecast(c, z)  # W_k c_t: [B, T, ..., ahead, D]

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def there(batch, z):  # places that begin within the row's length: bool [B, T, ...]
        T, length = z.shape[1], batch.get('length')
        if length is None:
            return jnp.ones(z.shape[:-1], bool)
        within = jnp.arange(T) * batch['x'].shape[1] < length[:, None] * T
        return jnp.broadcast_to(within.reshape(-1, T, *[1] * (z.ndim - 3)), z.shape[:-1])

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        z, _, p = forward(net, augment.views(view, key, batch['x'], 1))
        seen, value, logs = there(batch, z), 0, {'chance': jnp.float32(1 / len(z))}
        for i, k in enumerate(steps):  # p of c_t beside z_(t+k), the places in one axis
            ours, target = _rows(p[:, :-k, ..., i, :]), _rows(z[:, k:])
            where = seen[:, k:].reshape(ours.shape[:2])
            terms = places.cpc(ours, target, where=where, all_steps=all_places)  # equation 4
            count = jnp.maximum(where.sum(), 1)
            value += terms.sum() / count / ahead
            scores = jnp.einsum('isd,jsd->isj', ours, target)  # log f_k, equation 3
            scores = jnp.where(where.T, scores, -jnp.inf)
            right = scores.argmax(-1) == jnp.arange(len(z))[:, None]
            logs[f'accuracy_{k}'] = (right & where).sum() / count
        return value, {'stats': net.stats}, logs

    def answer(state, batch):
        return forward(nets(state.params, state.memory['stats']), batch['x'])

    def encode(key, state, batch):  # -> [B, D]: the mean of all places that are there
        z, c, _ = answer(state, batch)
        h = _rows(z if features == 'latents' else c)
        weight = there(batch, z).reshape(*h.shape[:2], 1)
        return (weight * h).sum(1) / jnp.maximum(weight.sum(1), 1)

    def foresee(key, state, batch):  # -> [B, T, ..., 1 + most, D], in the place that is foreseen
        z, _, p = answer(state, batch)
        told = [z, *[jnp.zeros_like(z)] * skip]
        for i, k in enumerate(steps):
            told.append(jnp.zeros_like(z).at[:, k:].set(p[:, :-k, ..., i, :]))
        return jnp.where(there(batch, z)[..., None, None], jnp.stack(told, -2), 0)

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode, 'foresee': foresee})


def _rows(x: jax.Array) -> jax.Array:
    """[B, T, ..., D] -> [B, places, D]."""
    return x.reshape(len(x), -1, x.shape[-1])
