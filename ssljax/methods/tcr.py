"""TCR: many patches of an image are pulled together, and the coding rate of all images grows.

Tong et al. 2023 (EMP-SSL), arXiv:2304.03977; the rate: Yu et al. 2020 (MCR2), arXiv:2006.08558.
The authors take features after the first layer of the projector, as a mean over patches; `encode`
gives those of the encoder for the image as it is.
"""

import jax

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, NetSpec, NonNegative, Positive, ViewSpec
from ssljax.losses import redundancy
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets

PATCH = dict(name='simclr', scale=(0.25, 0.25), ratio=(1.0, 1.0), blur=0.1, solarize=0.1)


def tcr(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet18', stem='cifar'),
    projector: NetSpec = dict(name='mlp', dims=(4096, 4096, 1024), norm='batch'),
    view: ViewSpec = PATCH,
    views: Count = 20,  # n, patches of an image
    pull: NonNegative = 200.0,  # lambda, of the cosine with the mean of an image
    distortion: Positive = 0.2**0.5,  # epsilon, up to which a batch is coded
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def project(net, x):
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, project, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        B = len(batch['x'])
        net = nets(state.params, state.memory['stats'], train=True)
        z = directions(project(net, augment.views(view, key, batch['x'], views)))
        z = z.reshape(B, views, -1)
        mean = directions(z.mean(1))  # of an image: [B, D]; its gradient is not stopped
        # R: the i-th patches of all images are a batch
        rate = jax.vmap(lambda z: redundancy.total_coding_rate(z, distortion=distortion), 1)(z)
        cosine = (z * mean[:, None]).sum(-1)
        value = -rate.mean() - pull * cosine.mean()
        logs = {'rate': rate.mean(), 'cosine': cosine.mean(), 'rank': participation(z[:, 0])}
        return value, state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
