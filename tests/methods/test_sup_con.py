"""SupCon, restated from Khosla et al. 2020, arXiv:2004.11362: section 3.1 and L_out, equation 2."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax import methods, model
from ssljax.method import Run
from ssljax.names import Mistake


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def sup_con(z, label, tau):
    """Equation 2, a mean over the anchors i: P(i) has the others of its class, A(i) all others."""
    s, other = unit(z) @ unit(z).T / tau, ~np.eye(len(z), dtype=bool)
    of_all = jnp.where(other, jnp.exp(s), 0).sum(1)
    positive = (label[:, None] == label) & other
    of_one = jnp.where(positive, jnp.log(jnp.exp(s) / of_all[:, None]), 0)
    return -(of_one.sum(1) / positive.sum(1)).mean()


def restated(seen, label):
    """Value, gradient and statistics; all views are one batch, also of the norms."""
    (views,), n = seen.views, seen.config['views']
    nets = seen.nets('encoder', 'projector')

    def loss(params):
        net = nets(params, seen.state.memory['stats'], train=True)
        z = net.projector(unit(net.encoder(views.out)))  # section 3.1: r has length one, too
        value = sup_con(z, jnp.repeat(label, n), seen.config['temperature'])
        return value, (value, {'stats': net.stats})

    gradient, told = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    return *told, gradient


@pytest.mark.parametrize('changes', [{}, {'model__views': 2, 'model__block': 5}])
def test_the_loss(changes):
    seen = oracle.see('sup_con', **changes)
    label, (views,) = seen.batch['label'], seen.views
    assert len(set(label.tolist())) < len(label)  # some images share a class
    assert views.spec == seen.config['view']
    assert len(views.out) == len(label) * seen.config['views']
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    oracle.close((seen.value, seen.memory, seen.gradient), restated(seen, label))
    # (sum e)^2 / sum e^2 of the covariance of the first views
    z = next(call.out for call in seen.calls if call.net == 'projector')
    e = np.linalg.eigvalsh(np.cov(np.asarray(unit(z[:: seen.config['views']])).T))
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum()}, 1e-3)


def test_classes_of_one_image_are_nt_xent():
    """Section 3.2: with two views and no labels, L_out is the self-supervised loss, equation 1."""
    seen = oracle.see('sup_con', model__views=2)
    (turn,), count = seen.job.method.turns.values(), len(seen.batch['x'])

    def value(label):
        batch = {**seen.batch, 'label': label}
        return turn.loss(seen.job.key(model.STEP), seen.state, batch)[0]

    z = unit(next(call.out for call in seen.calls if call.net == 'projector'))
    s = np.exp(z @ z.T / seen.config['temperature'])
    s = np.where(np.eye(2 * count, dtype=bool), 0, s)
    pair = s[np.arange(2 * count), np.arange(2 * count) ^ 1]
    alone, renamed = oracle.quick(
        jax.vmap(value), np.stack([np.arange(count), seen.batch['label']])
    )
    oracle.close(alone, -np.log(pair / s.sum(1)).mean())
    assert np.abs(renamed - alone) > 1e-3  # the labels were read


def test_data_without_labels_are_refused():
    rows = {'x': jax.ShapeDtypeStruct((8, 8, 1), jnp.uint8)}
    run = Run(steps=1, steps_per_epoch=1, examples=8, batch=8, row=rows)
    with pytest.raises(Mistake, match='label'):
        methods.function('sup_con')(run)


def test_features_are_of_length_one_before_the_projection_with_stored_statistics():
    seen = oracle.see('sup_con')
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(lambda x: unit(net.encoder(x)), x))
