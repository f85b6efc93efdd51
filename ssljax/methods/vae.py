"""VAE: an encoder names a normal distribution of codes, a decoder paints an image from a code.

Kingma & Welling 2013, arXiv:1312.6114. A codebook in memory follows the codes by online k-means.
Gray pixels are chances of white: their bound is that of black and white images, on average.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.kinds import Count, NetSpec, Positive, Share
from ssljax.losses import bernoulli, elbo, gaussian, kl_gaussian
from ssljax.memory import ema
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets, make

HIDDEN = dict(name='mlp', dims=(500,), activation='tanh', last_activation=True, flatten=True)


def vae(
    run: Run,
    *,
    encoder: NetSpec = HIDDEN,
    decoder: NetSpec = dict(name='mlp', dims=(500, 784), activation='tanh'),  # of 28x28 images
    latent: Count = 20,
    likelihood: Literal['bernoulli', 'gaussian'] = 'bernoulli',
    deviation: Positive = 0.2,  # of a pixel in [-1, 1] from its mean, where it is gaussian
    codes: Count = 64,  # of the codebook
    momentum: Share = 0.99,  # of the codebook
) -> Method:
    if run.vocab:
        raise Mistake('vae needs images, and this data is text; type another data.name')
    shape = run.row['x'].shape
    decoder = make(decoder, shape=shape, dtype=run.dtype)  # a mlp has no shape: its output is flat
    head = dict(name='mlp', dims=(2 * latent,))
    nets = Nets(encoder=encoder, posterior=head, decoder=decoder, dtype=run.dtype)

    def posterior(net, x):  # -> mean, log variance of q(z|x) [B, latent]
        return jnp.split(net.posterior(net.encoder(x)).astype(jnp.float32), 2, -1)

    def draw(key, mean, log_variance):  # eq. 10
        return mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)

    def decode(net, z):  # -> logits, or means [B, ...]
        y, pixels = net.decoder(z), math.prod(shape)
        if y.size != len(z) * pixels:
            raise Mistake(f'decoder: {y.shape[1:]} for rows {shape}; type dims=(..., {pixels})')
        return y.reshape(-1, *shape).astype(jnp.float32)

    def surprise(y, x):  # -log p(x|z) [B]
        if likelihood == 'bernoulli':
            return bernoulli(y, (x + 1) / 2)
        return gaussian(y, x, log_variance=2 * math.log(deviation))

    def forward(net, key, x):  # -> -log p(x|z) for one z, KL(q(z|x) | p(z)) [B]
        mean, log_variance = posterior(net, x)
        y = decode(net, draw(key, mean, log_variance))
        return surprise(y, x), kl_gaussian(mean, log_variance)

    def nearest(z, codebook):  # -> [B]
        return jnp.square(z[:, None] - codebook).sum(-1).argmin(1)

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        params, stats, _ = nets.init(k1, forward, k2, batch['x'])
        book = 0.1 * jax.random.normal(k3, (codes, latent))  # small: none is far from all z
        return params, dict(stats=stats, codebook=book, counts=jnp.full(codes, run.batch / codes))

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        error, kl = forward(net, key, batch['x'])
        return elbo(error, kl).mean(), state.memory | {'stats': net.stats}, {'kl': kl.mean()}

    def after(key, state, batch):
        """Each code of the book moves toward the mean of the z that are nearest to it."""
        codebook, z = state.memory['codebook'], encode(key, state, batch)
        near = jax.nn.one_hot(nearest(z, codebook), codes)  # [B, K]
        counts = ema(state.memory['counts'], near.sum(0), momentum)
        pull = near.T @ z - near.sum(0)[:, None] * codebook  # zero where nothing is near
        codebook = codebook + (1 - momentum) * pull / jnp.maximum(counts, 1e-6)[:, None]
        used = jnp.exp(jax.scipy.special.entr(counts / counts.sum()).sum())  # from 1 to codes
        return state.remember(codebook=codebook, counts=counts), {'used': used}

    def encode(key, state, batch):
        return posterior(nets(state.params, state.memory['stats']), batch['x'])[0]

    def reconstruct(key, state, batch):
        y = decode(nets(state.params, state.memory['stats']), encode(key, state, batch))
        mean = jnp.tanh(y / 2) if likelihood == 'bernoulli' else jnp.clip(y, -1, 1)
        return {'reconstruction': mean}  # of p(x|z), in [-1, 1]

    def sample(key, state, batch):
        k1, k2 = jax.random.split(key)
        z = jax.random.normal(k1, (len(batch['x']), latent))
        y = decode(nets(state.params, state.memory['stats']), z)
        if likelihood == 'bernoulli':
            return jnp.where(jax.random.bernoulli(k2, jax.nn.sigmoid(y)), 1.0, -1.0)
        return draw(k2, y, 2 * math.log(deviation))

    def bound(key, state, batch):
        return -elbo(*forward(nets(state.params, state.memory['stats']), key, batch['x']))

    def log_weights(key, state, batch, *, samples=2):
        def one(key):  # -> log p(z) - log q(z|x) + log p(x|z) [B]
            net = nets(state.params, state.memory['stats'])
            mean, log_variance = posterior(net, batch['x'])
            z = draw(key, mean, log_variance)
            ratio = gaussian(mean, z, log_variance=log_variance) - gaussian(0 * z, z)
            return ratio - surprise(decode(net, z), batch['x'])

        return jax.lax.map(one, jax.random.split(key, samples)).T

    def assign(key, state, batch):
        return nearest(encode(key, state, batch), state.memory['codebook'])

    readouts = {f.__name__: f for f in (encode, reconstruct, sample, bound, log_weights, assign)}
    return Method(init, {'net': Turn(loss)}, after, readouts=readouts)
