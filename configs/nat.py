"""NAT on glyphs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=600,
        batch=64,
        data=dict(train=4000, validation=100, test=1000),
        optim=dict(net=dict(warmup=40)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=60, validation=32, test=32),  # a batch may have an image twice
        model=dict(
            encoder=dict(widths=(8, 16)), projector=dict(dims=(16, 8)), view=dict(noise=0.1),
            epochs=2,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'cifar10_small': dict(
        steps=1500,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256), standardize=False),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}  # fmt: skip


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='nat',
        steps=3500,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            projector=dict(name='mlp', dims=(512, 128), norm='batch'),
            view=dict(name='ink'),
            epochs=1,
        ),
        optim=dict(
            net=dict(name='adamw', learning_rate=2e-3, weight_decay=1e-4, warmup=100, end=0.1)
        ),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=700),
    )
