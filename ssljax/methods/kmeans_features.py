"""k-means features: a patch is coded by how near it is to each center of the patches.

Coates et al. 2011 (AISTATS): whitened patches, triangle code, sums over quadrants. Coates & Ng 2011
(NeurIPS 24): a next layer sees groups of the most similar features. In the manner of Hui 2013
(ICML): a center stands for all views of a patch. No gradient; layers are learned before step 0.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax.linen import avg_pool

from ssljax.augment.patches import dense, quadrants, symmetries
from ssljax.cluster import alike, kmeans, zca
from ssljax.kinds import Count, Counts, Natural, Positive
from ssljax.method import Method, Refresh, Run, between
from ssljax.names import Mistake


def kmeans_features(
    run: Run,
    *,
    units: Counts = (4800,),  # centers of each layer
    sizes: Counts = (6,),  # side of its patches
    pool: Count = 3,  # side of the means that are taken between two layers
    groups: Count = 32,  # receptive fields of a layer after the first
    inputs: Count = 200,  # features in each
    views: Literal[1, 2, 8] = 1,  # of a patch; 2: with its mirror image; 8: both in quarter turns
    patches: Count = 10,  # of each image, to learn from
    contrast: Positive = 10.0,  # added to the variance of a patch of 8-bit pixels
    epsilon: Positive = 0.1,  # added to the variances of principal axes, as a share of their mean
    rounds: Natural = 10,  # of k-means; 0: the centers are random patches
) -> Method:
    row = run.row['x'].shape
    if len(row) != 3 or len(units) != len(sizes):
        what = f'rows are {list(row)}, units={units}, sizes={sizes}'
        raise Mistake(f'kmeans_features takes images and a size for each layer; {what}')
    channels = (row[2], *[inputs] * (len(units) - 1))  # that a layer sees in each receptive field
    fields = (1, *[groups] * (len(units) - 1))
    for K, before in zip(units[1:], units):
        if K % groups or inputs > before:
            what = f'groups={groups} must divide {K} units, and inputs={inputs} be at most {before}'
            raise Mistake(f'kmeans_features: {what}; type others')
    orders = [symmetries(views, size=s, channels=C) for s, C in zip(sizes, channels)]  # [V, d]

    def windows(state, i, x):  # all patches of what layer i sees: [B, h, w, G, d]
        if i:
            x = avg_pool(x, (pool, pool), (pool, pool))
            return dense(x[..., state.memory['fields'][f'layer_{i}']], size=sizes[i])
        x = dense(127.5 * x, size=sizes[i])[..., None, :]
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + contrast)

    def code(state, i, x):  # [B, h, w, K]
        p, x = state.params[f'layer_{i}'], windows(state, i, x)
        c = p['centers'][:, :, orders[i]].swapaxes(1, 2)  # [G, V, K / G, d]
        # two matrices for each g, and no last axis of 1: other products are slow on a CPU
        rows = (x - p['mean']).reshape(-1, *x.shape[-2:])
        rows = jnp.einsum('ngd,gde->gne', rows, p['whiten'])
        z = jnp.einsum('gnd,gmd->gnm', rows, c.reshape(len(c), -1, c.shape[-1]))
        z = jnp.square(c).sum(-1).reshape(len(c), 1, -1) - 2 * z
        z = (z + jnp.square(rows).sum(-1, keepdims=True)).reshape(*z.shape[:2], *c.shape[1:3])
        z = jnp.sqrt(jnp.maximum(z.min(2), 0))  # how far the center is, in its nearest view
        f = jnp.maximum(0, z.mean(-1, keepdims=True) - z)  # the triangle: how far below the mean
        return f.swapaxes(0, 1).reshape(*x.shape[:-2], -1)

    def maps(state, x, count):  # x and the codes of so many layers
        out = [x]
        for i in range(count):
            out.append(code(state, i, out[-1]))
        return out

    def encode(key, state, batch):  # [B, 4 * the units of all layers]
        def pooled(x):
            codes = maps(state, x[None], len(units))[1:]
            return jnp.concatenate([quadrants(f)[0] for f in codes])

        return jax.lax.map(pooled, batch['x'])  # all patches at once are too many

    def sample(key, state, batch, *, layer, cut):  # what a layer sees: features, or cut to patches
        x = jax.lax.map(lambda x: maps(state, x[None], layer)[-1][0], batch['x'])
        x = windows(state, layer, x) if cut else x  # [B, h, w, ...]
        place = jax.random.randint(key, (len(x), patches), 0, x.shape[1] * x.shape[2])
        return x.reshape(len(x), -1, *x.shape[3:])[jnp.arange(len(x))[:, None], place]

    def learned(key, x, i):  # the centers of one receptive field, from patches [M, d]
        mean, whiten = zca(x[:, orders[i]].reshape(-1, x.shape[1]), epsilon=epsilon)
        x = jnp.matmul(x - mean, whiten, precision='highest')[:, orders[i]]  # [M, V, d]
        _, centers, emptied = kmeans(key, x, k=units[i] // fields[i], rounds=rounds)
        return {'mean': mean, 'whiten': whiten, 'centers': centers}, emptied

    def rule(key, state, sweep):
        emptied = {}
        for i, (k1, k2) in enumerate(jax.random.split(key, (len(units), 2))):
            if i:  # a random feature and those most like it are a receptive field
                z = jnp.asarray(sweep(sample, state, layer=i, cut=False))
                like = alike(z.reshape(-1, z.shape[-1]), epsilon=epsilon)
                seeds = jax.random.choice(k1, len(like), (groups,), replace=False)
                seen = {f'layer_{i}': jax.lax.top_k(like[seeds], inputs)[1]}
                state = state.remember(fields=state.memory['fields'] | seen)
            x = jnp.asarray(sweep(sample, state, layer=i, cut=True))
            x = x.reshape(-1, *x.shape[2:]).swapaxes(0, 1)  # [G, M, d]
            layer, empty = jax.vmap(partial(learned, i=i))(jax.random.split(k2, len(x)), x)
            state = state.replace(params=state.params | {f'layer_{i}': layer})
            emptied[f'emptied_{i}'] = empty.sum()
        return state, emptied

    def init(key, batch):  # before it is learned, a layer has random centers
        params, seen = {}, {}
        for i, k in enumerate(jax.random.split(key, len(units))):
            G, K, d = fields[i], units[i] // fields[i], orders[i].shape[1]
            whiten, centers = jnp.tile(jnp.eye(d), (G, 1, 1)), jax.random.normal(k, (G, K, d))
            params[f'layer_{i}'] = {'mean': jnp.zeros((G, d)), 'whiten': whiten, 'centers': centers}
            if i:
                seen[f'layer_{i}'] = jnp.arange(G * inputs).reshape(G, inputs) % units[i - 1]
        return params, {'fields': seen}

    return Method(init, {}, None, Refresh(rule, between(0, 1)), {'encode': encode})
