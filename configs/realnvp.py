"""Real NVP on printed characters of 16 x 16 pixels: two minutes on two CPU cores."""

from ssljax.config import config

IMAGES = dict(bound=dict(), reconstruction=dict(), samples=dict())

VARIANTS = {
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='digits'),
        model=dict(flow=dict(width=20, depth=0), alpha=0.1),
        optim=dict(flow=dict(warmup=1)),
        evals=dict(bound=dict(size=50), reconstruction=None, samples=None),
        log=dict(every=2),
    ),
    'learn': dict(
        steps=30,
        batch=64,
        data=dict(name='digits'),
        model=dict(flow=dict(width=8)),
        optim=dict(flow=dict(warmup=5)),
        evals=dict(bound=dict(), reconstruction=None, samples=None),
        judge='bound.nats',
    ),
    'nice': dict(
        steps=1000,
        batch=64,
        model=dict(
            flow=dict(name='flow_vector', coupling='additive', couplings=4, width=512, depth=1)
        ),
        optim=dict(flow=dict(learning_rate=1e-3)),
        log=dict(every=200),
    ),
    'points': dict(
        steps=6000,
        batch=256,
        data=dict(name='density', kind='gaussians'),
        model=dict(flow=dict(name='flow_vector', couplings=12)),
        optim=dict(flow=dict(learning_rate=2e-3, clip=None)),
        evals=dict(bound=None, density_map=dict()),
        log=dict(every=200),
    ),
    'mnist': dict(
        steps=1000,
        data=dict(name='tfds:mnist', validation=5000),
        evals=dict(bound=dict(size=5000)),
    ),
    # its pixels went through JPEG: bits per dimension compare with those of WebP beside them, and
    # with none that is published
    'cifar10_small': dict(
        steps=1000,
        data=dict(name='tfds:cifar10', validation=5000),
        evals=dict(
            bound=dict(size=1000), reconstruction=None, samples=dict(count=200, judge_steps=100)
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='realnvp',
        steps=800,
        batch=32,
        data=dict(name='glyphs', size=16),
        model=dict(flow=dict(name='flow_image')),
        optim=dict(flow=dict(name='adam', learning_rate=5e-3, warmup=50, clip=1.0)),
        evals=IMAGES,
        checkpoint=dict(every=1000),
    )
