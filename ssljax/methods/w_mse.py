"""W-MSE: views are equal after whitening, which leaves no way to make all images equal.

Ermolov et al. 2020, arXiv:2007.06346. The default view has the authors' chances for small images;
for ImageNet theirs has scale=(0.08, 1.0), strength=1.0, gray=0.2, blur=0.5. All views are
one batch to the encoder's batch norm here, and each view is one there.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, NetSpec, Share, ViewSpec
from ssljax.losses import redundancy
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def w_mse(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    # whitening would take out a last bias
    projector: NetSpec = dict(name='mlp', dims=(1024, 128), norm='batch', bias=False),
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.2, 1.0), gray=0.1),
    views: Count = 4,  # d, of an image
    part: Count = 256,  # rows that are whitened together: two or more for each feature
    partitions: Count = 1,  # of the batch into such parts, drawn anew
    shrinkage: Share = 1e-4,  # of the covariance towards the identity; the authors' is 0
) -> Method:
    if min(views, part) < 2:
        raise Mistake(f'model.views={views}, model.part={part}; type numbers from 2')
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)
    first, second = np.triu_indices(views, 1)  # each pair of views once

    def project(net, x):
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, project, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        B = len(batch['x'])
        if B % part:
            raise Mistake(f'model.part={part} does not divide the batch of {B}; type a divisor')
        k1, k2 = jax.random.split(key)
        net = nets(state.params, state.memory['stats'], train=True)
        z = project(net, augment.views(view, k1, batch['x'], views))
        z = z.reshape(B, -1)  # of an image, [B, d D]: it travels whole, to the devices of its part
        drawn = jax.random.split(k2, partitions)
        order = jax.vmap(lambda key: jax.random.permutation(key, B))(drawn)
        parts = z[order.reshape(-1)].reshape(-1, part, views, z.shape[1] // views)
        parts = parts.swapaxes(1, 2)  # [P, d, part, D]
        # each view of a part is whitened by itself
        w = jax.vmap(jax.vmap(lambda z: redundancy.whiten(z, shrinkage=shrinkage)))(parts)
        u = jax.vmap(jax.vmap(directions))(w)
        value = jnp.square(u[:, first] - u[:, second]).sum(-1).mean()  # over pairs
        covariance = jnp.einsum('pnd,pne->pde', w[:, 0], w[:, 0]) / (part - 1)  # of a view
        logs = {
            # 1 where all rows are equal, or there are no more rows than features
            'not_white': jnp.abs(covariance - jnp.eye(w.shape[-1])).max(),
            'rank': participation(z.reshape(B, views, -1)[:, 0]),
        }
        return value, state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
