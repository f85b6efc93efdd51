"""NAT: random points of a sphere are the targets; which image has which is learned, one to one.

Bojanowski & Joulin 2017, arXiv:1704.05310. Images are taken as they come; the paper takes the
gradients of gray ones.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, NetSpec, ViewSpec
from ssljax.losses import clustering
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets


def nat(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(4096, 2048), norm='batch'),
    view: ViewSpec = dict(name='crop', size=224),
    epochs: Count = 3,  # in the first of so many epochs images and targets are matched anew
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> f(x) [B, D]
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        params, stats, f = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        # section 3.2: normal draws of length one are uniform on the sphere
        bank = directions(jax.random.normal(k3, (run.examples, f.shape[-1])))
        return params, {'stats': stats, 'bank': bank}  # row i: the target of image i

    def match(index, f, c, due):
        """Eq. 5 within the batch: targets c [B, D] in another order, which suits f [B, D] best."""
        B = len(index)
        # a batch over the end of an epoch may have an image twice: it has one target all the same
        first = (index == index[:, None]).argmax(1)
        stays = (first < jnp.arange(B)) | ~due
        held = stays | stays[:, None]
        own = jnp.eye(B, dtype=bool)
        # an entry is in [-1, 1]: at a price of 4 none that stays is moved
        cost = jnp.where(held, jnp.where(own, 0, 4.0), -directions(f) @ c.T)
        order = clustering.assignment(cost)
        return c[order][first], (order != jnp.arange(B)).mean()

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        f = forward(net, augment.views(view, key, batch['x'], 1))
        index, bank = batch['index'], state.memory['bank']
        due = (state.step // run.steps_per_epoch) % epochs == 0
        c, moved = match(index, f, bank[index], due)
        value = clustering.nat(f, c)  # eqs. 2 and 4, with the new targets (algorithm 1)
        memory = state.memory | {'stats': net.stats, 'bank': bank.at[index].set(c)}
        return value.mean(), memory, {'moved': moved, 'rank': participation(f)}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode}, by_rows=('bank',))
