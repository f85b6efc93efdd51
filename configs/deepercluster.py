"""DeeperCluster on glyphs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=2000)),
        judge='knn.accuracy',
        steps=800,
        data=dict(train=8000, validation=100, test=2000),
        # few clusters: the rows of a round are shared among the heads of 16 super-classes
        model=dict(clusters=20, epochs=2.5),
        optim=dict(net=dict(learning_rate=4e-3, warmup=60)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            neck=dict(dims=(16,)),
            groups=2,
            clusters=5,
            dims=8,
            rounds=3,
            epochs=0.5,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    # of classes of unequal size; measured by neighbors in a set whose classes are equal
    'long_tailed': dict(
        steps=2500,
        data=dict(
            name='long_tailed',
            of=dict(name='tfds:cifar10', validation=5000),
            count=10000,
            ratio=100.0,
        ),
        model=dict(
            encoder=dict(standardize=False),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
        ),
        evals=dict(
            knn=dict(bank='validation', bank_size=None),
            linear_probe=None,
            cluster=dict(),
            rank=dict(),
        ),
    ),
    'cifar10_small': dict(
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256), standardize=False),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), cluster=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='deepercluster',
        steps=3000,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            neck=dict(name='mlp', dims=(512,), norm='batch', last_norm=True, last_activation=True),
            view=dict(name='ink'),
            groups=4,
            clusters=75,
            dims=64,
            rounds=12,
            epochs=2,
        ),
        optim=dict(
            net=dict(name='adamw', learning_rate=2e-3, weight_decay=1e-4, warmup=280, end=0.1)
        ),
        evals=dict(knn=dict(), linear_probe=dict(), cluster=dict()),
        checkpoint=dict(every=700),
    )
