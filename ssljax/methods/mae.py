"""MAE: most patches are hidden; an encoder sees the others, a light decoder paints the rest.

He et al. 2021, arXiv:2111.06377.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.augment import mask
from ssljax.kinds import Count, NetSpec, Part, ViewSpec
from ssljax.losses import reconstruction
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets
from ssljax.nets.vit import patchify, unpatchify


def mae(
    run: Run,
    *,
    patch: Count = 16,
    encoder: NetSpec = dict(name='vit_base', positions='sincos', pool='mean'),
    decoder: NetSpec = dict(name='vit_decoder', width=512, depth=8, heads=16),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.2, 1.0)),
    ratio: Part = 0.75,
    normalize: bool = True,
) -> Method:
    nets = Nets(encoder=encoder, decoder=decoder, patch=patch, dtype=run.dtype)
    view = augment.make(view)

    def hide(key, x, ratio):
        """Masks [B, T] and the patches kept [B, K], drawn for each example."""
        T = (x.shape[1] // patch) * (x.shape[2] // patch)
        masks = jax.vmap(lambda k: mask.random(k, T, ratio=ratio))(jax.random.split(key, len(x)))
        hidden = mask.count(T, ratio=ratio)
        if not 0 < hidden < T:
            raise Mistake(f'mae: ratio={ratio} hides {hidden} of {T} patches; type some, not all')
        return masks, jax.vmap(lambda m: mask.split(m, hidden)[0])(masks)

    def forward(net, x, kept):  # -> predicted patches [B, T, P]
        tokens = net.encoder(x, kept, method='tokens')
        return net.decoder(tokens, kept, (x.shape[1] // patch, x.shape[2] // patch))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, _, _ = nets.init(k2, forward, x, hide(k3, x, ratio)[1])
        return params, {}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        masks, kept = hide(k2, x, ratio)
        prediction = forward(nets(state.params, train=True), x, kept)
        patches = patchify(x, patch).reshape(prediction.shape)
        value = reconstruction.mae(prediction, patches, masks, normalize=normalize)
        return value.mean(), state.memory, {}

    def encode(key, state, batch):
        return nets(state.params).encoder(batch['x'])

    def reconstruct(key, state, batch, *, ratio: Part = ratio):
        x = batch['x']
        masks, kept = hide(key, x, ratio)
        patches = patchify(x, patch)
        prediction = forward(nets(state.params), x, kept).reshape(patches.shape)
        mean = patches.mean(-1, keepdims=True)
        if normalize:  # what the net does not predict: the true mean and deviation of a patch
            prediction = mean + prediction * jnp.sqrt(patches.var(-1, keepdims=True) + 1e-6)
        hidden = masks.reshape(*patches.shape[:3], 1)

        def picture(inside):
            return unpatchify(jnp.where(hidden, inside, patches), patch)

        return {
            'masked': picture(0.0),
            'means': picture(mean),
            'reconstruction': picture(prediction),
            'mask': masks,
        }

    readouts = {'encode': encode, 'reconstruct': reconstruct}
    return Method(init, {'net': Turn(loss)}, readouts=readouts)
