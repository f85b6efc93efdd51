"""CycleGAN: two translators, each fools the critic of its domain; there and back is where one was.

Zhu et al. 2017, arXiv:1703.10593. The domains are `x` and `y` of a batch, and no row of one belongs
to a row of the other. A step is a turn of both translators, G: x -> y and F: y -> x, then one of
both critics. The critics' turn makes its fakes anew, with translators that have just moved, so no
batch is handed on in memory; the pools start with fakes of the first batch, over and over.
"""

import jax
import jax.numpy as jnp

from ssljax.kinds import Count, NetSpec, NonNegative
from ssljax.losses import adversarial
from ssljax.memory import exchange
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets, make


def cyclegan(
    run: Run,
    *,
    generator: NetSpec = dict(name='translator'),
    critic: NetSpec = dict(name='patch_critic'),
    cycle: NonNegative = 10.0,
    identity: NonNegative = 5.0,
    pool: Count = 50,
) -> Method:
    if 'y' not in run.row:
        raise Mistake('cyclegan needs two domains; type data=dict(name="unpaired", x=..., y=...)')
    if run.batch > pool:
        raise Mistake(f'cyclegan: batch {run.batch} is more than pool={pool} past fakes')
    shape = {domain: run.row[domain].shape for domain in ('x', 'y')}
    if identity and shape['x'] != shape['y']:
        found = ' and '.join(str(list(one)) for one in shape.values())
        raise Mistake(f'cyclegan: domains have rows {found}; type identity=0')

    def translator(domain):
        return make(generator, channels=shape[domain][-1], dtype=run.dtype)

    nets = Nets(
        G=translator('y'), F=translator('x'), critic_x=critic, critic_y=critic, dtype=run.dtype
    )

    def init(key, batch):
        def forward(net, x, y):
            net.critic_x(x), net.critic_y(y)
            return {'x': net.F(y), 'y': net.G(x)}

        params, stats, fake = nets.init(key, forward, batch['x'], batch['y'])
        if stats:  # four nets on eight kinds of input: whose statistics would they be?
            raise Mistake(f'cyclegan: {", ".join(stats)} have norm=batch; type norm=instance')
        pools = {f'pool_{d}': jnp.resize(fake[d], (pool, *shape[d])) for d in fake}
        return params, jax.tree.map(jnp.float32, pools)

    def generators_loss(key, state, batch):
        net, x, y = nets(state.params, train=True), batch['x'], batch['y']
        fake_x, fake_y = net.F(y), net.G(x)
        # 1. Fool the critics, section 4: (D(G(x)) - 1)^2, without the half that the loss has.
        judged = net.critic_x(fake_x), net.critic_y(fake_y)
        fooling = sum(2 * adversarial.least_squares_generator(f).mean() for f in judged)
        # 2. There and back, eq. 2.
        back = adversarial.cycle(net.F(fake_y), x) + adversarial.cycle(net.G(fake_x), y)
        value = fooling + cycle * back.mean()
        logs = {'fooling': fooling, 'cycle': back.mean()}
        # 3. What is of a domain already stays, section 5.2.
        if identity:
            same = adversarial.cycle(net.F(x), x) + adversarial.cycle(net.G(y), y)
            value, logs = value + identity * same.mean(), logs | {'identity': same.mean()}
        return value, state.memory, logs

    def critics_loss(key, state, batch):
        net, k1, k2 = nets(state.params, train=True), *jax.random.split(key)
        # half of the fakes are past ones (Shrivastava et al. 2017)
        fake_x, pool_x = exchange(k1, state.memory['pool_x'], net.F(batch['y']))
        fake_y, pool_y = exchange(k2, state.memory['pool_y'], net.G(batch['x']))
        of_x = adversarial.least_squares_critic(net.critic_x(batch['x']), net.critic_x(fake_x))
        of_y = adversarial.least_squares_critic(net.critic_y(batch['y']), net.critic_y(fake_y))
        logs = {'of_x': of_x.mean(), 'of_y': of_y.mean()}
        return of_x.mean() + of_y.mean(), {'pool_x': pool_x, 'pool_y': pool_y}, logs

    def translate(key, state, batch):
        return nets(state.params).G(batch['x'])

    def translate_y(key, state, batch):
        return nets(state.params).F(batch['y'])

    def reconstruct(key, state, batch):
        net = nets(state.params)
        there = net.G(batch['x'])
        return {'translation': there, 'reconstruction': net.F(there)}

    turns = {
        'generators': Turn(generators_loss, moves=('G', 'F')),
        'critics': Turn(critics_loss, moves=('critic_x', 'critic_y')),
    }
    readouts = {'translate': translate, 'translate_y': translate_y, 'reconstruct': reconstruct}
    return Method(init, turns, readouts=readouts, by_rows=('pool_x', 'pool_y'))
