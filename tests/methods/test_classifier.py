"""The classifier, restated from Szegedy et al. 2015, arXiv:1512.00567, section 7."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax.model import STEP

VARIANTS = [
    {'model__smoothing': 0.3, 'model__frozen': 2},
    {'model__smoothing': 0.0, 'model__statistics': 'stored'},
]


def targets(labels, classes, smoothing):
    """q'(k) = (1 - e) [k = label] + e / K, [B, K]."""
    return (1 - smoothing) * np.eye(classes)[np.asarray(labels)] + smoothing / classes


def log_p(logits):
    return logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))


def see(changes):
    seen = oracle.see('classifier', **changes)
    (views,), train = seen.views, seen.config['statistics'] == 'batch'
    assert views.spec == seen.config['view']
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    assert [call[:3] for call in seen.calls] == [
        ('encoder', '__call__', train),
        ('head', '__call__', train),
    ]
    np.testing.assert_array_equal(seen.calls[0].args[0], views.out)
    np.testing.assert_array_equal(seen.calls[1].args[0], seen.calls[0].out)
    q = targets(seen.batch['label'], seen.job.run.classes, seen.config['smoothing'])
    return seen, views.out, q, train


def linear(params, features):
    return features @ params['head']['Dense_0']['kernel'] + params['head']['Dense_0']['bias']


@pytest.mark.parametrize('changes', VARIANTS)
def test_the_loss(changes):
    seen, x, q, train = see(changes)
    nets, stats = seen.nets('encoder'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=train)
        value = -(q * log_p(linear(params, net.encoder(x)))).sum(1).mean()
        return value, (value, net.stats)

    gradient, (value, new) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.memory, {'stats': new if train else stats})
    oracle.close(seen.gradient, gradient)


def test_the_gradient_of_a_logit_is_p_minus_q():
    """Section 7: dl/dz(k) = p(k) - q'(k), here the mean over rows, which is that of the bias."""
    seen, _, q, _ = see(VARIANTS[0])
    bias = seen.gradient['head']['Dense_0']['bias']
    oracle.close(bias, (np.exp(log_p(seen.calls[1].out)) - q).mean(0))


def test_accuracy_is_the_share_of_labels_that_are_likeliest():
    seen, _, _, _ = see(VARIANTS[0])
    labels = seen.calls[1].out.argmax(1)
    labels = np.where(np.arange(len(labels)) < 4, labels, (labels + 1) % seen.job.run.classes)
    loss, key = seen.job.method.turns['net'].loss, seen.job.key(STEP)
    value, _, logs = oracle.quick(loss, key, seen.state, {**seen.batch, 'label': labels})
    oracle.close(logs, {'accuracy': 4 / len(labels)})
    q = targets(labels, seen.job.run.classes, 0.3)
    oracle.close(value, -(q * log_p(seen.calls[1].out)).sum(1).mean())


def test_a_new_head_says_almost_nothing():
    """So the first loss is near log K, that of equal p."""
    kernel = oracle.see('classifier', **VARIANTS[0]).job.fresh().params['head']['Dense_0']['kernel']
    assert 0.005 < np.std(kernel) < 0.02


def test_the_encoder_is_held_at_first():
    (turn,) = oracle.see('classifier', **VARIANTS[0]).job.method.turns.values()
    assert turn.holds.keys() == {'encoder'} and turn.moves == ()
    assert [bool(turn.holds['encoder'](i)) for i in range(4)] == [True, True, False, False]
    (turn,) = oracle.see('classifier', **VARIANTS[1]).job.method.turns.values()
    assert not turn.holds and all(turn.when(i) for i in range(4))


@pytest.mark.parametrize('changes', VARIANTS)
def test_readouts(changes):
    """Of the images as they are, with the stored statistics."""
    seen = oracle.see('classifier', **changes)
    nets, asked = seen.nets('encoder'), seen.job.method.readouts

    def answers(state):
        net = nets(state.params, state.memory['stats'])
        found = [
            asked[name](jax.random.key(1), state, seen.batch) for name in ('encode', 'classify')
        ]
        return found, net.encoder(seen.batch['x'])

    (features, classes), expected = oracle.quick(answers, seen.state)
    oracle.close(features, expected)
    np.testing.assert_array_equal(classes, linear(seen.state.params, expected).argmax(1))
    assert 'attend' not in asked  # convolutions have no attention


def test_a_vit_shows_where_its_class_token_looks():
    vit = "{'name': 'vit', 'patch': 8, 'width': 16, 'depth': 2, 'heads': 2, 'size': 32}"
    seen = oracle.see('classifier', model__encoder=vit)
    ask, nets = seen.job.method.readouts['attend'], seen.nets('encoder')

    def answers(state):
        net = nets(state.params, state.memory['stats'])
        found = ask(jax.random.key(1), state, seen.batch)
        return found, net.encoder(seen.batch['x'], method='attention')

    oracle.close(*oracle.quick(answers, seen.state))
