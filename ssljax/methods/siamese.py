"""Siamese: two towers that are one net learn a distance: near for one class, far for another.

Hadsell, Chopra & LeCun 2006 (CVPR): pairs and a margin, a map of two dimensions. Their second
kernel is 9 wide, after a layer that averages 3 x 3; here both are 6 wide, with strides.

Bromley et al. 1993 (NIPS 6) verify signatures and Koch et al. 2015 (ICML deep learning workshop)
name symbols from one example with such towers; their losses compare cosines and logits, ours is
the margin on pairs for both. Triplets are of the rows of a batch: compare='semi_hard' with
unit=True and margin=0.2, Schroff et al. 2015, arXiv:1503.03832; compare='batch_hard', Hermans et
al. 2017, arXiv:1703.07737. Batches come as they are drawn: the former has about 40 rows of each
class in one, the latter P classes with K rows of each, and here a row may have no positive.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import NetSpec, Positive, ViewSpec
from ssljax.losses import metric
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def siamese(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='conv', widths=(15, 30), kernel=6, norm=None, pool='flatten'),
    head: NetSpec = dict(name='mlp', dims=(2,)),
    view: ViewSpec = dict(name='identity'),
    compare: Literal['pairs', 'semi_hard', 'batch_hard'] = 'pairs',  # triplets read label
    margin: Positive | None = 1.0,  # None, of batch_hard: the soft one
    unit: bool = False,  # whether embeddings have length one
) -> Method:
    needed = ('y', 'same') if compare == 'pairs' else ('label',)
    if absent := [name for name in needed if name not in run.row]:
        how = 'data=dict(name="pairs", of=dict(...))' if compare == 'pairs' else 'other data'
        raise Mistake(
            f'siamese with compare={compare!r} needs {", ".join(absent)} in the rows; type {how}'
        )
    if margin is None and compare != 'batch_hard':
        raise Mistake(f'siamese with compare={compare!r} has no soft margin; type margin=1.0')
    nets = Nets(encoder=encoder, head=head, dtype=run.dtype)
    view = augment.make(view)

    def embed(net, x):  # G(x), the point of x: [B, D]
        z = net.head(net.encoder(x))
        return directions(z) if unit else z

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, embed, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def pairs(net, key, batch):  # Hadsell et al., equation 4 -> [B], and which pairs are unlike
        x = jnp.stack([batch['x'], batch['y']], 1)  # [B, 2, ...]: a pair stays on one device
        x = x.reshape(-1, *x.shape[2:])  # one call: both towers share statistics
        z = embed(net, augment.views(view, key, x, 1))
        z1, z2 = z[::2], z[1::2]
        value = metric.margin_pair(z1, z2, batch['same'], margin=margin)
        return z1, value, ~batch['same'].astype(bool)

    def triplets(net, key, batch):  # a row of a batch is an anchor -> [B], and that each counts
        z = embed(net, augment.views(view, key, batch['x'], 1))
        mine = dict(semi_hard=metric.semi_hard_triplet, batch_hard=metric.batch_hard_triplet)
        value = mine[compare](z, batch['label'], margin=margin)
        return z, value, jnp.ones(len(z), bool)

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        z, value, counts = (pairs if compare == 'pairs' else triplets)(net, key, batch)
        # of unlike pairs, or of anchors: the share that still costs something
        active = (counts & (value > 0)).sum() / jnp.maximum(counts.sum(), 1)
        logs = {'active': active, 'rank': participation(z)}
        return value.mean(), {'stats': net.stats}, logs

    def encode(key, state, batch):  # the learned distance is that of these
        return embed(nets(state.params, state.memory['stats']), batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
