"""A small supervised classifier of one source, by which samples are judged."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import optax

from ssljax.data.source import Source
from ssljax.evals.measures import floats
from ssljax.evals.subject import part_of, pick
from ssljax.losses import cross_entropy
from ssljax.nets import Nets


class Judge(NamedTuple):
    """A classifier that has learned."""

    look: Callable  # images [N, H, W, C] in [-1, 1] -> probabilities [N, K], features [N, D]


JUDGES: dict[tuple[str, int], Judge] = {}  # of this process: all subjects of a source share one


def trained(source: Source, steps: int, *, batch: int = 128) -> Judge:
    """The judge of a source: the same for every subject, whatever its key."""
    if (source.fingerprint, steps) in JUDGES:
        return JUDGES[source.fingerprint, steps]
    train, random = part_of(source, 'train'), np.random.default_rng(0)
    label = train.rows(pick(train.count, 20000))['label']
    classes = source.classes or int(label.max()) + 1
    nets = Nets(encoder=dict(name='conv'), head=dict(name='mlp', dims=(classes,)))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def forward(net, x):
        h = net.encoder(x)
        return net.head(h), h

    def draw():
        rows = train.rows(random.integers(train.count, size=batch))
        return floats(rows['x']), rows['label']

    @jax.jit
    def start(x):
        params, stats, _ = nets.init(jax.random.key(0), forward, x)
        return params, stats, optimizer.init(params)

    @jax.jit
    def step(params, stats, opt, x, y):
        def loss(params):
            net = nets(params, stats, train=True)
            logits, _ = forward(net, x)
            return cross_entropy(logits, y).mean(), net.stats

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, opt = optimizer.update(grads, opt, params)
        return optax.apply_updates(params, updates), stats, opt

    params, stats, opt = start(draw()[0])
    for _ in range(steps):
        params, stats, opt = step(params, stats, opt, *draw())

    @jax.jit
    def answer(x):
        logits, h = forward(nets(params, stats), x)
        return jax.nn.softmax(logits), h

    def look(x):
        chunk = min(500, len(x))
        parts = [
            jax.device_get(answer(np.pad(part, ((0, chunk - len(part)), *[(0, 0)] * 3))))
            for part in (x[i : i + chunk] for i in range(0, len(x), chunk))
        ]
        return tuple(np.concatenate(each)[: len(x)] for each in zip(*parts, strict=True))

    JUDGES[source.fingerprint, steps] = Judge(look)
    return JUDGES[source.fingerprint, steps]
