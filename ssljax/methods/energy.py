"""Energy-based model: a net's energy falls at data, and rises where Langevin steps lead from noise.

Du & Mordatch 2019, arXiv:1903.08689. The samples of each step are kept and go on in later ones.

At a noise of sqrt(rate), eq. 1 keeps exp(-E); the paper's noise is far less, and E is steeper than
-log p. Of points in the plane log Z is summed over a grid, and log_prob is there.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.kinds import Count, NetSpec, NonNegative, Positive, Share
from ssljax.losses import free_energy_difference
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets

CELLS = 128  # on each side of the grid


def energy(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet18', stem='cifar', norm=None),
    steps: Count = 60,  # of Langevin
    rate: Positive = 10.0,  # lambda of eq. 1
    noise: NonNegative = 0.005,  # deviation of omega in eq. 1
    clip: NonNegative = 0.0,  # of each entry of the slope; 0: none
    reach: Positive = 1.0,  # rows are within [-reach, reach]
    replay: Count = 10000,  # samples that are kept
    fresh: Share = 0.05,  # of the samples start from noise
    blur: NonNegative = 0.0,  # deviation of the noise that data gets
    penalty: NonNegative = 1.0,  # alpha: of squared energies
) -> Method:
    row = run.row['x']
    if run.vocab:
        raise Mistake('energy needs numbers, and this data is text; type another data.name')
    if replay < run.batch:
        raise Mistake(
            f'model.replay={replay} cannot hold the {run.batch} samples of a step; type a number'
            f' from {run.batch}'
        )
    nets = Nets(encoder=encoder, energy=dict(name='mlp', dims=(1,)), dtype=run.dtype)

    def forward(net, x):  # -> E [B]
        h = net.encoder(x)
        return net.energy(h.reshape(len(h), -1))[:, 0].astype(jnp.float32)

    def uniform(key, rows):
        return jax.random.uniform(key, (rows, *row.shape), minval=-reach, maxval=reach)

    def langevin(key, params, x, steps):  # eq. 1
        slope = jax.grad(lambda x: forward(nets(params), x).sum())
        # not a lax.scan: a convolution's gradient is several times slower in one, on a CPU
        for k in jax.random.split(key, steps):
            down = jnp.clip(slope(x), -clip, clip) if clip else slope(x)
            x = x - rate / 2 * down + noise * jax.random.normal(k, x.shape)
            x = jnp.clip(x, -reach, reach)
        return jax.lax.stop_gradient(x)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, batch['x'])
        if stats:
            raise Mistake('energy: the energy of a row depends on no other row; type norm=None')
        return params, {'replay': uniform(k2, replay)}

    def loss(key, state, batch):
        k1, k2, k3, k4, k5 = jax.random.split(key, 5)
        x, kept = batch['x'], state.memory['replay']
        B = len(x)
        slots = jax.random.choice(k1, replay, (B,), replace=False)
        start = jax.random.bernoulli(k2, fresh, (B,) + (1,) * (x.ndim - 1))
        start = jnp.where(start, uniform(k3, B), kept[slots])
        sample = langevin(k4, state.params, start, steps)
        real = forward(nets(state.params), x + blur * jax.random.normal(k5, x.shape))
        fake = forward(nets(state.params), sample)
        value = free_energy_difference(real, fake) + penalty * (real**2 + fake**2)
        logs = {'real': real.mean(), 'fake': fake.mean()}
        return value.mean(), {'replay': kept.at[slots].set(sample)}, logs

    def encode(key, state, batch):
        return nets(state.params).encoder(batch['x'])

    def free_energy(key, state, batch):
        return forward(nets(state.params), batch['x'])

    def sample(key, state, batch, *, steps: Count = steps):
        """Kept samples, so many steps later."""
        k1, k2 = jax.random.split(key)
        slots = jax.random.choice(k1, replay, (len(batch['x']),))
        return langevin(k2, state.params, state.memory['replay'][slots], steps)

    def log_prob(key, state, batch):
        side = (jnp.arange(CELLS) + 0.5) * (2 * reach / CELLS) - reach
        grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
        log_z = jax.nn.logsumexp(-forward(nets(state.params), grid))
        inside = (jnp.abs(batch['x']) <= reach).all(-1)
        log_p = -free_energy(key, state, batch) - log_z - 2 * math.log(2 * reach / CELLS)
        return jnp.where(inside, log_p, -jnp.inf)

    readouts = [encode, free_energy, sample, *[log_prob] * (row.shape == (2,))]
    readouts = {f.__name__: f for f in readouts}
    return Method(init, {'energy': Turn(loss)}, readouts=readouts, by_rows=('replay',))
