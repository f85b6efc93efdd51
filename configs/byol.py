"""BYOL on squares of two photographs; `:collapse` has no predictor.

There the teacher's momentum also rises from 0 to 1, and not from 0.9.
"""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=1200,
        optim=dict(online=dict(warmup=40)),
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            projector=dict(dims=(32, 16)),
            predictor=dict(dims=(24, 16)),
            view=dict(size=16),
            other_view=dict(size=16),
        ),
        optim=dict(online=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'collapse': dict(model=dict(predictor=None, momentum=0.0)),
    'cifar10_small': dict(
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256)),
            projector=dict(dims=(512, 128)),
            predictor=dict(dims=(512, 128)),
            view=dict(size=32, scale=(0.25, 1.0)),
            other_view=dict(size=32, scale=(0.25, 1.0)),
            momentum=0.98,
        ),
        optim=dict(online=dict(warmup=240, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='byol',
        steps=3000,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64)),
            projector=dict(name='mlp', dims=(128, 32), norm='batch'),
            predictor=dict(name='mlp', dims=(128, 32), norm='batch'),
            view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5),
            other_view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, solarize=0.1),
            momentum=0.9,
        ),
        optim=dict(online=dict(name='adamw', learning_rate=3e-3, weight_decay=0.1, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
