"""VAE: an encoder names a normal distribution of codes, a decoder paints an image from a code.

Kingma & Welling 2013, arXiv:1312.6114; `logistic`: Kingma et al. 2016, arXiv:1606.04934. To
`bernoulli` gray is a chance of white: its bound is that of black and white images, on average.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.kinds import Count, NetSpec, NonNegative, Positive
from ssljax.losses import bernoulli, elbo, gaussian, kl_gaussian, logistic_mixture
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets, make

HIDDEN = dict(name='mlp', dims=(500,), activation='tanh', last_activation=True, flatten=True)
LEVEL = 2 / 255  # from one level of 8 bits to the next


def vae(
    run: Run,
    *,
    encoder: NetSpec = HIDDEN,
    decoder: NetSpec = dict(name='mlp', dims=(500, 784), activation='tanh'),  # of 28x28 images
    latent: Count = 20,
    likelihood: Literal['bernoulli', 'gaussian', 'logistic'] = 'bernoulli',
    deviation: Positive = 0.2,  # of a gaussian pixel in [-1, 1]; logistic scales start from it
    beta: NonNegative = 1.0,  # weight of the divergence; 0: an autoencoder, whose code is the mean
) -> Method:
    if run.vocab:
        raise Mistake('vae needs images, and this data is text; type another data.name')
    shape, in_bytes = run.row['x'].shape, run.row['x'].dtype == jnp.uint8
    if likelihood == 'logistic' and not in_bytes:
        raise Mistake(f"'logistic' needs uint8, and x is {run.row['x'].dtype}; type 'gaussian'")
    pixels = math.prod(shape)
    decoder = make(decoder, shape=shape, dtype=run.dtype)  # a mlp has no shape: its output is flat
    heads = dict(posterior=dict(name='mlp', dims=((2 if beta else 1) * latent,)))
    if likelihood == 'logistic':  # log scale of each pixel, linear in z
        heads['scale'] = dict(name='mlp', dims=(pixels,), kernel_init=0.01)
    nets = Nets(encoder=encoder, decoder=decoder, dtype=run.dtype, **heads)

    def posterior(net, x):  # -> mean, log variance of q(z|x) [B, latent]
        h = net.posterior(net.encoder(x)).astype(jnp.float32)
        return jnp.split(h, 2, -1) if beta else (h, jnp.zeros_like(h))

    def draw(key, mean, log_variance):  # eq. 10
        return mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)

    def paint(net, z):  # -> of p(x|z): logits or means [B, ...], log deviations
        y, log_s = net.decoder(z), math.log(deviation)
        if y.size != len(z) * pixels:
            raise Mistake(f'decoder: {y.shape[1:]} for rows {shape}; type dims=(..., {pixels})')
        if likelihood == 'logistic':
            log_s = log_s + net.scale(z).astype(jnp.float32).reshape(-1, *shape)
        return y.reshape(-1, *shape).astype(jnp.float32), log_s

    def surprise(y, log_s, x):  # -log p(x|z) [B]
        if likelihood == 'bernoulli':
            return bernoulli(y, (x + 1) / 2)
        if likelihood == 'logistic':
            return logistic_mixture(0 * y[..., None], y[..., None], log_s[..., None], x)
        # of bytes their mass, at most: -log p(x + u) - log LEVEL on average, u uniform in a level
        mass = math.log(LEVEL) - (LEVEL / deviation) ** 2 / 24 if in_bytes else 0
        return gaussian(y, x, log_variance=2 * log_s) - pixels * mass

    def forward(net, key, x):  # -> -log p(x|z) for one z, KL(q(z|x) | p(z)) [B]
        mean, log_variance = posterior(net, x)
        z = draw(key, mean, log_variance) if beta else mean
        return surprise(*paint(net, z), x), kl_gaussian(mean, log_variance)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, k2, batch['x'])
        return params, {'stats': stats}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        error, kl = forward(net, key, batch['x'])
        return elbo(error, kl, beta=beta).mean(), {'stats': net.stats}, {'kl': kl.mean()}

    def encode(key, state, batch):
        return posterior(nets(state.params, state.memory['stats']), batch['x'])[0]

    def decode(key, state, batch):
        z = batch['z'] if 'z' in batch else encode(key, state, batch)
        y, _ = paint(nets(state.params, state.memory['stats']), z)
        return jnp.tanh(y / 2) if likelihood == 'bernoulli' else jnp.clip(y, -1, 1)

    def reconstruct(key, state, batch):
        return {'reconstruction': decode(key, state, batch)}

    def sample(key, state, batch):
        k1, k2 = jax.random.split(key)
        z = jax.random.normal(k1, (len(batch['x']), latent))
        y, log_s = paint(nets(state.params, state.memory['stats']), z)
        if likelihood == 'bernoulli':
            return jnp.where(jax.random.bernoulli(k2, jax.nn.sigmoid(y)), 1.0, -1.0)
        if likelihood == 'gaussian':
            return y + jnp.exp(log_s) * jax.random.normal(k2, y.shape)
        x = jnp.clip(y + jnp.exp(log_s) * jax.random.logistic(k2, y.shape), -1, 1)
        return LEVEL * jnp.round((x + 1) / LEVEL) - 1

    def bound(key, state, batch):
        return -elbo(*forward(nets(state.params, state.memory['stats']), key, batch['x']))

    def log_weights(key, state, batch, *, samples: Count = 2):
        q = posterior(nets(state.params, state.memory['stats']), batch['x'])

        def one(key):  # -> log p(z) - log q(z|x) + log p(x|z) [B]
            z, net = draw(key, *q), nets(state.params, state.memory['stats'])
            ratio = gaussian(q[0], z, log_variance=q[1]) - gaussian(0 * z, z)
            return ratio - surprise(*paint(net, z), batch['x'])

        return jax.lax.map(one, jax.random.split(key, samples)).T

    asks = (encode, decode, reconstruct) + ((sample, bound, log_weights) if beta else ())
    return Method(init, {'net': Turn(loss)}, readouts={f.__name__: f for f in asks})
