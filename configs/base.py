"""The blocks that every config shares, and how a variant departs from them."""

from ml_collections import ConfigDict

from ssljax.config import merge, plain
from ssljax.names import choose

SHARED = dict(
    seed=0,
    steps=1000,
    batch=128,  # over all devices
    accumulate=1,  # micro-batches of one step
    dtype='float32',  # of the activations: bfloat16 on accelerators
    method='',
    model={},  # keywords of the method; what is absent is the paper's default
    data={},  # dict(name=..., **options of the source)
    optim={},  # turn -> dict(name=..., learning_rate=..., **options)
    evals={},  # evaluator -> its options; run at the end
    graft={},  # path in the state -> 'WORKDIR:path in its state'
    # every `evaluate` steps the evaluators of `curve`, or of evals where it is empty
    log=dict(every=50, evaluate=0, curve={}, tensorboard=True),
    checkpoint=dict(every=0, keep=2, keep_every=0),  # every=0: at the end only
    mesh=dict(data=-1, fsdp=1, tensor=1, big=2**16),
)


def config(variants: dict, variant: str, **fields) -> ConfigDict:
    """SHARED with `fields` over it and the departures of `variant` over both."""
    merged = merge(SHARED, fields)
    if variant:
        merged = merge(merged, variants[choose(variant, variants, 'variant')])
    return ConfigDict(plain(merged), convert_dict=True)
