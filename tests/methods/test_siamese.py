"""Siamese nets, restated: Hadsell et al. 2006, equation 4; triplets of Schroff et al. 2015,
arXiv:1503.03832, section 3.2, and Hermans et al. 2017, arXiv:1703.07737, equation 5."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax.names import Mistake

SEMI = dict(model__compare='semi_hard', model__unit=True, model__margin=0.3)
SEMI |= dict(model__encoder__norm='batch')
HARD = dict(model__compare='batch_hard', model__margin=0.8)
SOFT = dict(model__compare='batch_hard', model__margin=None)


def embedded(seen, params):
    """The embeddings of all views and the statistics: both towers are one net, called once."""
    net = seen.nets('encoder', 'head')(params, seen.state.memory['stats'], train=True)
    z = net.head(net.encoder(seen.views[0].out))
    return z / jnp.linalg.norm(z, axis=1, keepdims=True) if seen.config['unit'] else z, net.stats


def triplets(z, label, hard):
    """(a, p, n, share): of an anchor every positive, with the nearest of the negatives that are
    further than it; hard: the furthest positive with the nearest negative."""
    d, found = np.linalg.norm(z[:, None] - np.float64(z), axis=-1), []
    for a in range(len(z)):
        mates = [p for p in range(len(z)) if label[p] == label[a] and p != a]
        others = sorted(np.flatnonzero(label != label[a]), key=lambda n: d[a, n])
        for p in [max(mates, key=lambda p: d[a, p])] if hard and mates else mates:
            beyond = [n for n in others if hard or d[a, n] > d[a, p]]
            found += [(a, p, beyond[0], 1 if hard else 1 / len(mates))] if beyond else []
    return found


def length(x):
    return jnp.sqrt(jnp.square(x).sum(1) + 1e-12)


def of_triplets(z, found, margin, power):
    a, p, n, share = (np.array(column) for column in zip(*found))
    terms = length(z[a] - z[p]) ** power - length(z[a] - z[n]) ** power
    terms = jnp.log1p(jnp.exp(terms)) if margin is None else jnp.maximum(0, terms + margin)
    return (share * terms).sum() / len(z)


def gaps(z):
    """Of x and y, which are neighbors."""
    return length(z[::2] - z[1::2])


def of_pairs(z, same, margin):
    """Equation 4: half the square of the distance, or of what is missing to the margin."""
    d = gaps(z)
    return jnp.where(same, d**2, jnp.maximum(0, margin - d) ** 2).mean() / 2


def compare(seen, loss):
    """Value, gradient, statistics and rank are those of a loss (z) -> []; the embeddings."""

    def objective(params):
        z, stats = embedded(seen, params)
        value = loss(z)
        return value, (value, stats, z)

    gradient, (value, stats, z) = oracle.quick(jax.grad(objective, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': stats})
    of_x = z[::2] if seen.config['compare'] == 'pairs' else z
    e = np.linalg.eigvalsh(np.cov((of_x / np.linalg.norm(of_x, axis=1, keepdims=True)).T))
    oracle.close(seen.logs['rank'], e.sum() ** 2 / np.square(e).sum(), 1e-3)
    return z


def test_pairs():
    seen = oracle.see('siamese')
    (views,) = seen.views
    assert views.spec == seen.config['view']
    both = np.stack([seen.batch['x'], seen.batch['y']], 1)  # neighbors: [B, 2, ...]
    np.testing.assert_array_equal(views.x, both.reshape(-1, *both.shape[2:]))
    same, margin = np.asarray(seen.batch['same']), seen.config['margin']
    z = compare(seen, functools.partial(of_pairs, same=same, margin=margin))
    d = np.asarray(gaps(z))
    assert 0 < same.mean() < 1
    oracle.close(seen.logs['active'], (d < margin)[~same].mean())


def test_who_is_further_than_the_margin_has_no_gradient():
    seen = oracle.see('siamese', model__margin=1e-4)
    same = np.asarray(seen.batch['same'])
    z = compare(seen, lambda z: (same * gaps(z) ** 2).mean() / 2)
    assert np.asarray(gaps(z))[~same].min() > 1e-4 and seen.logs['active'] == 0


@pytest.mark.parametrize('changes, hard', [(SEMI, False), (HARD, True), (SOFT, True)])
def test_triplets(changes, hard):
    """Of squared distances by Schroff et al., of distances by Hermans et al."""
    seen = oracle.see('siamese', **changes)
    (views,) = seen.views
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    label, margin = np.asarray(seen.batch['label']), seen.config['margin']
    z = oracle.quick(lambda params: embedded(seen, params)[0], seen.state.params)
    found = triplets(z, label, hard)
    assert len(found) > len(z) / 2
    compare(seen, lambda z: of_triplets(z, found, margin, 1 if hard else 2))
    if seen.config['unit']:
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)


def test_a_soft_margin_is_of_batch_hard_alone():
    with pytest.raises(Mistake, match="compare='semi_hard' has no soft margin; type margin=1.0"):
        oracle.see('siamese', **SEMI | dict(model__margin=None))


@pytest.mark.parametrize('changes', [{}, SEMI])
def test_features_are_the_embeddings_with_stored_statistics(changes):
    seen = oracle.see('siamese', **changes)
    x, encode = seen.batch['x'], seen.job.method.readouts['encode']
    net = seen.nets('encoder', 'head')(seen.state.params, seen.state.memory['stats'])
    z = oracle.quick(lambda x: net.head(net.encoder(x)), x)
    z = z / np.linalg.norm(z, axis=1, keepdims=True) if seen.config['unit'] else z
    oracle.close(oracle.quick(lambda s: encode(jax.random.key(0), s, {'x': x}), seen.state), z)
