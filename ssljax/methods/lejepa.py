"""LeJEPA: each view is near the mean of the global ones, and features are normal; no teacher.

Balestriero & LeCun 2025, arXiv:2511.08544.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import participation
from ssljax.kinds import Count, Natural, NetSpec, Share, ViewSpec
from ssljax.losses import redundancy
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets


def lejepa(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='vit', patch=14, width=1024, depth=24, heads=16),
    projector: NetSpec = dict(name='mlp', dims=(2048, 2048, 128), norm='batch'),
    global_view: ViewSpec = dict(name='simclr', size=224, scale=(0.3, 1.0), blur=0.5, solarize=0.2),
    local_view: ViewSpec = dict(name='simclr', size=98, scale=(0.05, 0.3), blur=0.5, solarize=0.2),
    global_views: Count = 2,
    local_views: Natural = 6,
    trade_off: Share = 0.05,  # lambda, of the statistic
    slices: Count = 1024,  # directions of the test, drawn anew in each step
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    global_view, local_view = augment.make(global_view), augment.make(local_view)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(global_view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, lambda net, x: net.projector(net.encoder(x)), x)
        return params, {'stats': stats}

    def loss(key, state, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        B = len(batch['x'])
        crops = [augment.views(global_view, k1, batch['x'], global_views)]
        if local_views:
            crops.append(augment.views(local_view, k2, batch['x'], local_views))
        net = nets(state.params, state.memory['stats'], train=True)
        h = jnp.concatenate([net.encoder(x).reshape(B, len(x) // B, -1) for x in crops], 1)
        z = net.projector(h.reshape(-1, h.shape[-1])).astype(jnp.float32)
        z = z.reshape(*h.shape[:2], -1)  # [B, V, D]
        center = z[:, :global_views].mean(1, keepdims=True)  # its gradient is not stopped
        # a mean over features, too, as in the authors' code, to which their lambda belongs
        prediction = jnp.square(center - z).mean()
        axes = jax.random.normal(k3, (slices, z.shape[-1]))  # sigreg makes their length one
        statistic = jax.vmap(lambda z: redundancy.sigreg(z, axes), 1)(z).mean()  # of each view
        value = (1 - trade_off) * prediction + trade_off * statistic
        logs = {'prediction': prediction, 'statistic': statistic, 'rank': participation(z[:, 0])}
        return value, state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
