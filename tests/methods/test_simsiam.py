"""SimSiam, restated from Chen & He 2020, arXiv:2011.10566: equations 1 to 4 and algorithm 1."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest

from ssljax import methods

OTHER = {'model__encoder__pool': 'mean', 'model__projector__norm': 'layer',
         'model__projector__dims': (24, 20, 16), 'model__predictor__dims': (12, 16)}  # fmt: skip
NONE = {'model__predictor': None, 'optim__net__groups': '{}'}  # no group of its params then
FREE = {'model__stop_gradient': False}


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def D(p, z):
    """Equation 1, minus the cosine, as a mean over rows."""
    return -(unit(p) * unit(z)).sum(1).mean()


def forward(seen, params):
    """z1, z2, p1, p2, statistics: in algorithm 1 each view is a batch of its own."""
    predictor = ['predictor'] if seen.config['predictor'] else []
    net = seen.nets('encoder', 'projector', *predictor)
    net = net(params, seen.state.memory['stats'], train=True)
    z = [net.projector(net.encoder(views.out)) for views in seen.views]
    p = [net.predictor(row) for row in z] if predictor else z
    return *z, *p, net.stats


def slope(seen, targets):
    """Gradient, value, statistics and z1 of algorithm 1, whose targets are targets(z1, z2)."""

    def loss(params):
        z1, z2, p1, p2, stats = forward(seen, params)
        t1, t2 = targets(z1, z2)
        value = D(p1, t2) / 2 + D(p2, t1) / 2
        return value, (value, stats, z1)

    return oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)


@pytest.mark.parametrize('changes', [{}, OTHER, NONE])
def test_the_loss(changes):
    """Equation 4: no gradient goes to the projection of the other view."""
    seen = oracle.see('simsiam', **changes)
    v1, v2 = seen.views
    assert v1.spec == v2.spec == seen.config['view'] and (v1.x == v2.x).all()
    assert (v1.x == seen.batch['x']).all() and (np.abs(v1.out - v2.out).max((1, 2, 3)) > 0.1).all()
    gradient, (value, stats, z) = slope(seen, lambda *z: jax.lax.stop_gradient(z))
    oracle.close(seen.value, value)
    oracle.close(seen.memory, {'stats': stats})
    oracle.close(seen.gradient, gradient)
    u = np.asarray(unit(z))
    e = np.linalg.eigvalsh(np.cov(u.T))
    rank, spread = e.sum() ** 2 / np.square(e).sum(), np.sqrt(u.shape[1]) * u.std(0).mean()
    oracle.close(seen.logs, {'rank': rank, 'spread': spread}, 1e-3)


def test_stop_gradient():
    """Targets are constants. Equation 3, without it, has the same value and another
    gradient, but of the predictor, which no target has passed. Figure 2 compares the two."""
    seen, free = oracle.see('simsiam'), oracle.see('simsiam', **FREE)
    z1, z2, *_ = oracle.quick(lambda params: forward(seen, params), seen.state.params)
    constant, _ = slope(seen, lambda *z: (z1, z2))
    through, (value, *_) = slope(seen, lambda *z: z)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, constant)
    oracle.close(free.value, value)
    oracle.close(free.gradient, through)
    oracle.close(seen.gradient['predictor'], through['predictor'])
    for name in ('encoder', 'projector'):
        apart = jax.tree.map(jnp.subtract, seen.gradient[name], through[name])
        assert optax.tree.norm(apart) > 0.1 * optax.tree.norm(through[name])


def test_without_a_predictor_it_is_half_the_gradient_of_the_cosine():
    """Section 4.2: of D(z1, z2), in its direction; so the stop alone does not help."""
    seen = oracle.see('simsiam', **NONE)
    half = jax.grad(lambda params: D(*forward(seen, params)[:2]) / 2)
    oracle.close(seen.gradient, oracle.quick(half, seen.state.params))


def test_there_is_no_other_memory():
    """Neither negatives nor a momentum encoder."""
    seen = oracle.see('simsiam')
    assert set(seen.job.fresh().memory) == {'stats'} and seen.job.method.after is None
    (turn,) = seen.job.method.turns.values()
    assert all(turn.when(k) for k in range(4)) and not turn.holds


def test_the_nets_are_those_of_section_3():
    """Batch norm in f also after the output, in h not; h is a bottleneck."""
    words = inspect.signature(methods.function('simsiam')).parameters
    f, h = words['projector'].default, words['predictor'].default
    assert f == dict(name='mlp', dims=(2048,) * 3, norm='batch', last_norm=True)
    assert h == dict(name='mlp', dims=(512, 2048), norm='batch')


def test_features_are_those_before_the_projector_with_stored_statistics():
    seen = oracle.see('simsiam')
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(lambda x: net.encoder(x), x))
