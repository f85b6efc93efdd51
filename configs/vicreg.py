"""VICReg on squares of two photographs; two variants leave out one of its terms.

Without the variance the net learns little; without the covariance z has one direction, and
neighbors by h are as good as before.
"""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=1200,
        optim=dict(net=dict(warmup=40)),
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            projector=dict(dims=(32, 24, 16)),
            view=dict(size=16),
            invariance=10.0,
            variance=8.0,
            covariance=2.0,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'no_variance': dict(model=dict(variance=0.0)),
    'no_covariance': dict(model=dict(covariance=0.0)),
    'cifar10_small': dict(
        steps=1500,
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256)),
            projector=dict(dims=(512, 512, 512)),
            view=dict(size=32, scale=(0.25, 1.0)),
        ),
        optim=dict(net=dict(warmup=120, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='vicreg',
        steps=3000,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64)),
            projector=dict(name='mlp', dims=(256, 256, 256), norm='batch'),
            view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, blur=0.0),
        ),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=0.1, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
