"""CLIP: a tower of images and one of texts; an image finds its caption among those of the batch.

Radford et al. 2021, arXiv:2103.00020. siglip=True: every pair is a yes or no of its own,
Zhai et al. 2023, arXiv:2303.15343.

The paper's ViT has one more norm, before its blocks. Of several captions, a step draws one.
"""

import math

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import participation
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import contrastive
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def clip(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='vit', patch=32, width=768, depth=12, heads=12, size=224),
    text_encoder: NetSpec = dict(name='text_transformer', width=512, depth=12, heads=8, context=77),
    dim: Count = 512,  # of the space that images and texts share
    view: ViewSpec = dict(name='crop', size=224, scale=(0.9, 1.0), ratio=(1.0, 1.0), flip=0.0),
    siglip: bool = False,  # whether every pair is a yes or no, and not one choice of the batch
    limit: Positive = 100.0,  # of the scale of cosines, which is learned
    block: Count | None = None,  # columns at a time; None: all pairs of the batch at once
) -> Method:
    if 'text' not in run.row:
        raise Mistake('clip needs images with texts; type data.name=scenes, or text= of a tfds')
    linear = dict(name='mlp', dims=(dim,), bias=False)
    nets = Nets(
        encoder=encoder, projector=linear, text_encoder=text_encoder, text_projector=linear,
        dtype=run.dtype, vocab=run.vocab,
    )  # fmt: skip
    view = augment.make(view)

    def project(net, x):  # images [B, H, W, C] -> [B, dim]
        return net.projector(net.encoder(x))

    def project_text(net, text, length):  # [B, T], of which length [B] are meant -> [B, dim]
        return net.text_projector(net.text_encoder(text, length))

    def captions(batch):  # text [B, n, T] and its lengths [B, n], where there is one, too
        text = batch['text'].reshape(len(batch['text']), -1, batch['text'].shape[-1])
        length = batch.get('text_length', jnp.full(text.shape[:2], text.shape[2]))
        return text, length.reshape(text.shape[:2])

    def both(net, key, batch):  # -> [B, dim] twice
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        text, length = captions(batch)
        which = jax.random.randint(k2, text.shape[:1], 0, text.shape[1])
        one = jax.vmap(lambda of_row, i: of_row[i])
        return project(net, x), project_text(net, one(text, which), one(length, which))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, both, k2, batch)
        logit = {'scale': jnp.float32(math.log(10.0 if siglip else 1 / 0.07))}  # the log of it
        if siglip:
            logit['bias'] = jnp.float32(-10.0)
        return params | {'logit': logit}, {'stats': stats}

    def pairs(key, state, batch):
        k1, k2 = jax.random.split(key)  # the first is for dropout
        net = nets(state.params, state.memory['stats'], train=True, key=k1)
        z, t = both(net, k2, batch)
        logit = state.params['logit']
        options = dict(scale=jnp.exp(logit['scale']), block=block)
        if siglip:
            value = contrastive.siglip(z, t, bias=logit['bias'], **options).mean()
        else:
            value = contrastive.clip(z, t, **options).mean()
        logs = {'scale': options['scale'], 'rank': participation(z), 'rank_text': participation(t)}
        return value, state.memory | {'stats': net.stats}, logs

    def after(key, state, batch):
        logit = state.params['logit']
        scale = jnp.minimum(logit['scale'], math.log(limit))
        return state.replace(params=state.params | {'logit': logit | {'scale': scale}}), {}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def embed(key, state, batch):
        return project(nets(state.params, state.memory['stats']), batch['x'])

    def embed_text(key, state, batch):  # of several captions, the mean
        text, length = captions(batch)
        net = nets(state.params, state.memory['stats'])
        t = project_text(net, text.reshape(-1, text.shape[-1]), length.reshape(-1))
        return t.reshape(*text.shape[:2], dim).mean(1)

    readouts = {'encode': encode, 'embed': embed, 'embed_text': embed_text}
    return Method(init, {'net': Turn(pairs)}, after, readouts=readouts)
