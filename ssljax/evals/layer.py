"""Features of any layer: what a module gives while a readout runs, whatever the method."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax

from ssljax.evals.subject import Subject
from ssljax.method import Batch, State
from ssljax.names import Mistake, choose


def at_layer(subject: Subject, layer: str) -> Subject:
    """The subject whose features are those of the layer, 'blocks_1' say; a baseline has none."""
    if not layer or subject.model is None or 'encode' not in subject.readouts:
        return subject
    model = subject.model
    ask = partial(model.over, inside, model.state, encode=model.readouts['encode'], layer=layer)
    return subject._replace(layer=layer, readouts={**subject.readouts, 'encode': ask})


def inside(key: Any, state: State, batch: Batch, *, encode: Any, layer: str) -> jax.Array:
    """Output of the module `layer` in `encode`, its places averaged: [B, D]."""
    count, outputs = len(batch['x']), {}

    def watch(call: Any, args: Any, options: Any, context: Any) -> Any:
        out = call(*args, **options)
        if isinstance(out, jax.Array) and out.ndim > 1 and len(out) == count:
            outputs['/'.join(context.module.path)] = out
        return out

    with nn.intercept_methods(watch):
        encode(key, state, batch)
    outputs.pop('', None)  # the whole encoder
    if not outputs:
        raise Mistake(f'layer={layer}: encode of this method runs no layers; type layer=""')
    h = outputs[choose(layer, outputs, 'layer')]
    return h.mean(tuple(range(1, h.ndim - 1)))
