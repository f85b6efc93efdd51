"""NAT on squares of two photographs: two minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=2000)),
        judge='knn.accuracy_whitened',
        steps=3000,
        batch=128,
        data=dict(name='glyphs', train=4000, validation=100, test=2000),
        model=dict(
            encoder=dict(widths=(16, 32, 64, 128), standardize=True, pool='flatten'),
            projector=dict(dims=(256, 64)),
            view=dict(name='ink'),
            epochs=3,
        ),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        # a batch may have an image twice
        data=dict(name='glyphs', train=60, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16), standardize=True, pool='flatten'),
            projector=dict(dims=(16, 8)),
            view=dict(name='ink', noise=0.1),
            epochs=2,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'cifar10_small': dict(
        steps=1500,
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256)),
            projector=dict(dims=(256, 64)),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='nat',
        steps=4000,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64), pool='mean'),
            projector=dict(name='mlp', dims=(128, 32), norm='batch'),
            view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5),
            epochs=2,
        ),
        optim=dict(
            net=dict(name='adamw', learning_rate=2e-3, weight_decay=1e-4, warmup=100, end=0.1)
        ),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=700),
    )
