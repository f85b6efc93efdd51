"""RBM: visible and hidden units; the free energy falls at data, and rises at the model's samples.

Hinton 2002 (Neural Computation 14): chains of `steps` steps that start at the data. Tieleman 2008
(ICML): chains that are kept and go on. Annealing: Salakhutdinov & Murray 2008 (ICML).

A pixel is the chance of white, and each step draws it. Where rows are black and white, nats are of
the exact P of a row. Of gray ones the free energy is that of the chances, which is no P:
data.name=binarized draws them once. With a deviation, x has normal noise.
"""

import jax
import jax.numpy as jnp

from ssljax.chains import anneal, walk
from ssljax.kinds import Count, Natural, NonNegative, Share
from ssljax.losses import free_energy_difference
from ssljax.memory import ema
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets
from ssljax.nets.rbm import MOST, alone, between


def rbm(
    run: Run,
    *,
    hidden: Count = 500,
    steps: Count = 1,  # of Gibbs sampling
    chains: Natural = 0,  # that are kept; 0: they start at the data
    deviation: NonNegative = 0.0,  # of the noise of visible units; 0: they are 0 or 1
    momentum: Share = 0.99,  # of the mean of the data, at which annealing starts
) -> Method:
    row = run.row['x']
    images, binary = row.dtype == jnp.uint8, not deviation
    if run.vocab or not (images or deviation):
        raise Mistake(
            f'rbm: its units are 0 or 1, and rows are {row.dtype}{list(row.shape)}; type'
            ' model.deviation=1.0 for units with normal noise, or a data.name that has images'
        )
    size = dict(visible=row.size, hidden=hidden, deviation=deviation)
    nets = Nets(rbm=dict(name='rbm', **size), dtype=run.dtype)

    def visible(x):  # -> chances of white, or x [B, D]
        x = x.reshape(len(x), -1).astype(jnp.float32)
        return (x + 1) / 2 if binary else x

    def observe(key, x):
        v = visible(x)
        return jax.random.bernoulli(key, v).astype(jnp.float32) if binary else v

    def picture(v):
        return (2 * v - 1 if binary else v).reshape(-1, *row.shape)

    def gibbs(params):
        return lambda key, v: nets(params).rbm(key, v, method='gibbs')

    def at(state, beta):  # from units that know nothing of each other, at 0, to the model, at 1
        first = alone(state.memory['mean'], deviation)
        return {'rbm': between(first, state.params['rbm'], beta)}

    def noise(key, state, rows):  # draws at beta = 0 [rows, D]
        net, h = nets(at(state, 0.0)), jnp.zeros((rows, hidden))
        return net.rbm(key, h, method='draw_visible')

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        v = visible(batch['x'])
        params, _, _ = nets.init(k1, lambda net, v: net.rbm(v), v)
        params['rbm']['visible'] = alone(v.mean(0), deviation)
        kept = observe(k2, batch['x'])[jax.random.choice(k3, len(v), (chains,))]
        return params, {'mean': v.mean(0)} | ({'chain': kept} if chains else {})

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        v, memory = observe(k1, batch['x']), state.memory
        sample = walk(k2, gibbs(state.params), memory['chain'] if chains else v, steps)
        net = nets(state.params)
        value = free_energy_difference(net.rbm(v).mean(), net.rbm(sample).mean())
        memory = {'mean': ema(memory['mean'], v.mean(0), momentum)}
        memory |= {'chain': sample} if chains else {}
        return value, memory, {'active': net.rbm(v, method='to_hidden').mean()}

    def encode(key, state, batch):
        return nets(state.params).rbm(visible(batch['x']), method='to_hidden')

    def reconstruct(key, state, batch):
        v = nets(state.params).rbm(encode(key, state, batch), method='to_visible')
        return {'reconstruction': picture(v)}

    def sample(key, state, batch, *, steps: Count = 1000):
        k1, k2 = jax.random.split(key)
        if chains:
            v = state.memory['chain'][jax.random.choice(k1, chains, (len(batch['x']),))]
        else:
            v = noise(k1, state, len(batch['x']))
        return picture(walk(k2, gibbs(state.params), v, steps))

    def free_energy(key, state, batch):
        return nets(state.params).rbm(visible(batch['x']))

    def log_z_weights(key, state, batch, *, steps: Count = 1000):
        k1, k2 = jax.random.split(key)

        def energy(beta, v):
            return nets(at(state, beta)).rbm(v)

        def move(key, beta, v):
            return gibbs(at(state, beta))(key, v)

        log_w = anneal(k2, energy, move, noise(k1, state, len(batch['x'])), steps)
        return nets(at(state, 0.0)).rbm(method='log_z_alone') + log_w

    def log_prob(key, state, batch):
        return -free_energy(key, state, batch) - nets(state.params).rbm(method='log_z')

    readouts = [encode, reconstruct, sample, free_energy]
    if binary or not images:  # a density of bytes would need noise within their levels
        readouts += [log_z_weights, *[log_prob] * (hidden <= MOST)]
    readouts, by_rows = {f.__name__: f for f in readouts}, ('chain',) * bool(chains)
    return Method(init, {'rbm': Turn(loss)}, readouts=readouts, by_rows=by_rows)
