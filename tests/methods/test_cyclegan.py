"""CycleGAN, restated from Zhu et al. 2017, arXiv:1703.10593: equations 1 to 3, sections 4, 5.2."""

import functools
import inspect

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax.methods import cyclegan
from ssljax.names import Mistake
from ssljax.nets import Nets, make
from ssljax.step import floats


@functools.cache
def see(turn):
    return oracle.see('cyclegan', turn, model__identity=3.0)


def bound(seen, params, train=True):
    generator, critic = (make(seen.config[k], channels=1) for k in ('generator', 'critic'))
    nets = Nets(G=generator, F=generator, critic_x=critic, critic_y=critic)
    return nets(params, train=train)


def l1(a, b):
    """As in the authors' code, a mean over pixels."""
    return jnp.abs(a - b).mean()


def asked(seen, name):
    """What a net was given in the loss, in order."""
    return [call.args[0] for call in seen.calls if call.net == name]


def test_the_translators_loss():
    """Least squares (section 4), equations 2 and 3; the identity of section 5.2."""
    seen = see('generators')
    x, y = seen.batch['x'], seen.batch['y']
    assert np.abs(x - y).mean() > 0.1 and all(call.train for call in seen.calls)

    def loss(params):
        net = bound(seen, params)
        fake_y, fake_x = net.G(x), net.F(y)
        fooled = ((net.critic_y(fake_y) - 1) ** 2).mean() + ((net.critic_x(fake_x) - 1) ** 2).mean()
        cycle = l1(net.F(fake_y), x) + l1(net.G(fake_x), y)
        same = l1(net.G(y), y) + l1(net.F(x), x)
        value = fooled + 2 * cycle + 3 * same
        return value, (value, {'fooling': fooled, 'cycle': cycle, 'identity': same})

    gradient, (value, parts) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, {name: gradient[name] for name in 'GF'})
    oracle.close(seen.logs, parts)
    oracle.close(seen.memory, seen.state.memory)  # the pools are written in the other turn
    without = jobs.job('cyclegan', model__identity=0.0, model__cycle=7.0).method.turns['generators']
    found, _, logs = oracle.quick(without.loss, jax.random.key(1), seen.state, seen.batch)
    oracle.close(found, parts['fooling'] + 7 * parts['cycle'])
    assert logs.keys() == {'fooling', 'cycle'}  # nothing is computed for it


def objective(seen, params, fakes):
    """Section 4: the least squares of a critic are halved; its fakes come from a pool."""
    net, value = bound(seen, params), {}
    for name in 'xy':
        critic = getattr(net, f'critic_{name}')
        real, fake = critic(seen.batch[name]), critic(fakes[name])
        value[f'of_{name}'] = (((real - 1) ** 2).mean() + (fake**2).mean()) / 2
    return value['of_x'] + value['of_y'], value


def test_the_critics_loss():
    """No gradient goes to the translators."""
    seen = see('critics')
    fakes = {}
    for name in 'xy':
        real, fakes[name] = asked(seen, f'critic_{name}')
        np.testing.assert_array_equal(real, seen.batch[name])
    given = seen.state.params, fakes
    slope = jax.value_and_grad(lambda *given: objective(seen, *given), has_aux=True)
    (value, parts), gradient = oracle.quick(slope, *given)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, parts)
    oracle.close(seen.gradient, {name: gradient[name] for name in ('critic_x', 'critic_y')})


def test_fakes_of_the_past():
    """Section 4: half of the fakes that a critic is shown are past ones; these leave the pool, and
    those they stand for come in."""
    seen, shares = see('critics'), []
    turn, state = seen.job.method.turns['critics'], jax.tree.map(jnp.asarray, seen.state)
    ask = jax.jit(lambda key: turn.loss(key, state, seen.batch)[:2])
    restated = jax.jit(lambda fakes: objective(seen, state.params, fakes)[0])
    x, y = seen.batch['x'], seen.batch['y']
    net = bound(seen, seen.state.params)
    new = oracle.quick(lambda: {'x': net.F(y), 'y': net.G(x)})
    for key in jax.random.split(jax.random.key(3), 96):
        (value, memory), shown = jax.device_get(ask(key)), {}
        assert memory.keys() == {'pool_x', 'pool_y'}
        for name in 'xy':
            before, after = seen.state.memory[f'pool_{name}'], memory[f'pool_{name}']
            changed = np.abs(after - before).max((1, 2, 3)) > 0
            shares.append(changed)
            far = np.abs(after[changed][:, None] - new[name]).max((2, 3, 4))
            assert (far.min(1) < 1e-4).all() and len(set(far.argmin(1))) == changed.sum()
            shown[name] = new[name].copy()
            shown[name][far.argmin(1)] = before[changed]
        oracle.close(value, restated(shown))
    shares = np.array(shares)  # [192, 64]: 8 rows of 64 are drawn, half of these exchanged
    assert abs(shares.sum(1).mean() / 8 - 0.5) < 0.09
    assert shares.any(0).all() and (shares[::2] != shares[1::2]).any(1).mean() > 0.8


def test_the_start():
    """The pools begin with fakes of one batch, over and over: a critic's first past is no noise."""
    job = see('critics').job
    batch, state = floats(jobs.batch(job, 0)), job.fresh()
    net = bound(see('critics'), state.params)
    fakes = oracle.quick(lambda x, y: {'x': net.F(y), 'y': net.G(x)}, batch['x'], batch['y'])
    for name, rows in fakes.items():
        pool = np.asarray(state.memory[f'pool_{name}'])
        np.testing.assert_array_equal(pool, np.tile(pool[:8], (8, 1, 1, 1)))
        assert len(np.unique(pool[:, 2, 3, 0])) == 8
        oracle.close(pool[:8], rows)
    assert job.method.by_rows == ('pool_x', 'pool_y')
    changed = jobs.differing(state.params['G'], state.params['F'])
    assert any('kernel' in path for path in changed)  # four nets of their own


def test_turns_and_defaults():
    """Section 4 and appendix 7.1: lambda of 10, half of it for the identity, a pool of 50."""
    turns = see('critics').job.method.turns
    assert list(turns) == ['generators', 'critics']
    assert [turn.moves for turn in turns.values()] == [('G', 'F'), ('critic_x', 'critic_y')]
    assert all(turn.when(i) for turn in turns.values() for i in range(5))
    assert not any(turn.holds for turn in turns.values())
    keywords = inspect.signature(cyclegan.cyclegan).parameters
    assert [keywords[k].default for k in ('cycle', 'identity', 'pool')] == [10, 5, 50]
    with pytest.raises(Mistake, match='norm'):  # whose statistics would they be?
        jobs.job('cyclegan', model__critic__norm='batch')
    with pytest.raises(Mistake, match='pool'):
        jobs.job('cyclegan', model__pool=7)


def test_readouts():
    """There, and there and back."""
    seen = see('critics')
    net, ask = bound(seen, seen.state.params, train=False), seen.job.method.readouts

    def asked(*given):
        return {name: ask[name](*given) for name in ask}

    def restated(x, y):
        there = net.G(x)
        pictures = {'translation': there, 'reconstruction': net.F(there)}
        return {'translate': there, 'translate_y': net.F(y), 'reconstruct': pictures}

    found = oracle.quick(asked, jax.random.key(1), seen.state, seen.batch)
    oracle.close(found, oracle.quick(restated, seen.batch['x'], seen.batch['y']))
