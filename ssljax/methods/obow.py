"""OBoW: crops predict which visual words a teacher sees in the whole image.

Gidaris et al. 2020, arXiv:2012.11552. The words are of one level, the encoder's last; the paper's
best results have those of the level before, too. Local views are crops of their own, where the
paper cuts patches out of one.
"""

import jax
import jax.numpy as jnp
import optax

from ssljax import augment
from ssljax.collapse import directions
from ssljax.kinds import Count, Natural, NetSpec, Positive, Share, ViewSpec
from ssljax.losses import distillation
from ssljax.memory import ema, ring
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def _squares(key, f, side):
    """For each map of f [B, h, w, D] the mean of one square of places, drawn: [B, D]."""
    B, h, w, D = f.shape
    corners = jax.random.randint(key, (B, 2), 0, jnp.array([h, w]) - side + 1)
    square = lambda f, c: jax.lax.dynamic_slice(f, (*c, 0), (side, side, D))  # noqa: E731
    return jax.vmap(square)(f, corners).mean((1, 2))


def obow(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    generator: NetSpec = dict(name='mlp', dims=(4096, 2048), norm='batch'),  # word -> its weights
    whole_view: ViewSpec = dict(name='crop', size=224, scale=(1.0, 1.0), ratio=(1.0, 1.0)),
    view: ViewSpec = dict(name='simclr', size=160, scale=(0.08, 0.6), blur=0.5),
    views: Count = 2,
    local_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.15)),
    local_views: Natural = 5,
    vocabulary: Count = 8192,  # words, of the last images
    border: Natural = 1,  # places at the edge of the map that are no words
    side: Count = 3,  # of the square of places whose mean is a new word
    kappa: Positive = 8.0,  # length of a word's weights
    sharpness: Positive = 15.0,  # 1 / delta, of assignments, at a mean square distance of one
    momentum: Share = 0.99,  # of the teacher; rises to 1
) -> Method:
    if vocabulary < run.batch:
        raise Mistake(f'model.vocabulary={vocabulary} is less than a batch; type {run.batch}')
    nets = Nets(encoder=encoder, generator=generator, dtype=run.dtype)
    whole_view, view, local_view = map(augment.make, (whole_view, view, local_view))
    apart = optax.cosine_decay_schedule(1 - momentum, run.steps)  # 1 - momentum, falls to 0

    def places(net, x):  # -> [B, h, w, D] without the edge
        f = net.encoder(x, method='places')
        f = f[:, border : f.shape[1] - border, border : f.shape[2] - border]
        if min(f.shape[1:3]) < side:
            raise Mistake('the encoder has too few places; lower model.border and model.side')
        return f.astype(jnp.float32)

    def weights(net, words):  # of the student's prediction, [K, D]
        return kappa * directions(net.generator(directions(words)))

    def predict(net, x, weights):  # -> logits [B * views, K]
        h = net.encoder(x).astype(jnp.float32)
        if h.shape[1] != weights.shape[1]:
            raise Mistake(f'model.generator must end with the {h.shape[1]} dims of a view')
        return h @ weights.T

    def init(key, batch):
        k1, k2, k3, k4 = jax.random.split(key, 4)
        whole = augment.views(whole_view, k1, batch['x'], 1)
        x = augment.views(view, k2, batch['x'], 1)

        def forward(net, whole, x):
            words = jax.random.normal(k3, (vocabulary, places(net, whole).shape[-1]))
            words = jax.nn.relu(words)  # as the features of places are
            return words, predict(net, x, weights(net, words))

        params, stats, (words, _) = nets.init(k4, forward, whole, x)
        memory = {'stats': stats, 'teacher': {'encoder': params['encoder']}, 'vocabulary': words}
        # writes: to the vocabulary, of each micro-batch; distance: from a place to its nearest word
        return params, memory | {'writes': jnp.int32(0), 'distance': jnp.float32(0.5)}

    def loss(key, state, batch):
        k1, k2, k3, k4 = jax.random.split(key, 4)
        m, x = state.memory, batch['x']
        # it normalizes by its own batch: it is never used otherwise, and keeps no statistics
        teacher = nets(m['teacher'], m['stats'], train=True)
        f = places(teacher, augment.views(whole_view, k1, x, 1))
        rows, words = f.reshape(len(x), -1, f.shape[-1]), m['vocabulary']  # [B, U, D], [K, D]
        square = jnp.square(rows).sum(-1)[..., None] + jnp.square(words).sum(-1)
        square -= 2 * jnp.einsum('bud,kd->buk', rows, words, precision='highest')
        distance = ema(m['distance'], square.min(-1).mean(), 0.99)
        bag = distillation.bag_of_words(rows, words, delta=distance / sharpness)

        net = nets(state.params, m['stats'], train=True)
        w, value = weights(net, words), 0.0
        for draw, k, count in ((view, k2, views), (local_view, k3, local_views)):
            if count:
                logits = predict(net, augment.views(draw, k, x, count), w)
                value += distillation.obow(logits, bag.repeat(count, 0)).mean()

        memory = m | {
            'stats': net.stats,
            'vocabulary': ring(words, _squares(k4, f, side), m['writes']),  # the loss used the old
            'writes': m['writes'] + 1,
            'distance': distance,
        }
        p = bag.mean(0)  # of the words that are used
        return value, memory, {'words': jnp.exp(-(p * jnp.log(p + 1e-9)).sum())}

    def after(key, state, batch):
        teacher = state.memory['teacher']
        student = {'encoder': state.params['encoder']}
        return state.remember(teacher=ema(teacher, student, 1 - apart(state.step))), {}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'student': Turn(loss)}, after, readouts={'encode': encode})
