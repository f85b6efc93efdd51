"""WGAN-GP: a critic whose slope is held at one tells real from fake; the generator follows it.

Gulrajani et al. 2017, arXiv:1704.00028. A step is one turn of the critic, on a fresh batch;
every fifth is also one of the generator.
"""

import jax

from ssljax.kinds import Count, NetSpec, NonNegative
from ssljax.losses import adversarial
from ssljax.method import Method, Run, Turn, every
from ssljax.nets import Nets


def wgan_gp(
    run: Run,
    *,
    generator: NetSpec = dict(name='dcgan_generator', size=64, channels=3),
    critic: NetSpec = dict(name='dcgan_critic'),
    latent: Count = 128,
    penalty: NonNegative = 10.0,
    critics: Count = 5,
) -> Method:
    nets = Nets(generator=generator, critic=critic, dtype=run.dtype)

    def noise(key, batch):
        return jax.random.normal(key, (len(batch['x']), latent))

    def init(key, batch):
        k1, k2 = jax.random.split(key)

        def forward(net, z):
            return net.critic(net.generator(z))

        params, stats, _ = nets.init(k1, forward, noise(k2, batch))
        return params, {'stats': stats}

    def critic_loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        net = nets(state.params, state.memory['stats'], train=True)
        real, fake = batch['x'], net.generator(noise(k1, batch))
        f_real, f_fake = net.critic(real), net.critic(fake)

        def critic(x):
            return nets(state.params).critic(x)  # bound inside the gradient that calls it

        slope = adversarial.gradient_penalty(k2, critic, real, fake)
        value = adversarial.wasserstein_critic(f_real, f_fake) + penalty * slope
        # the generator's statistics belong to its own turn
        logs = {'distance': (f_real - f_fake).mean(), 'penalty': slope.mean()}
        return value.mean(), state.memory, logs

    def generator_loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        value = adversarial.wasserstein_generator(net.critic(net.generator(noise(key, batch))))
        return value.mean(), state.memory | {'stats': net.stats}, {}

    def sample(key, state, batch):
        return nets(state.params, state.memory['stats']).generator(noise(key, batch))

    turns = {
        'critic': Turn(critic_loss, moves=('critic',)),
        'generator': Turn(generator_loss, moves=('generator',), when=every(critics, critics - 1)),
    }
    return Method(init, turns, readouts={'sample': sample})
