"""DeepCluster on glyphs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=700,
        data=dict(train=8000, validation=100, test=1000),
        model=dict(epochs=1.6),
        optim=dict(net=dict(learning_rate=4e-3, warmup=60)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            neck=dict(dims=(16,)),
            clusters=8,
            dims=8,
            rounds=3,
            epochs=0.5,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    # of classes of unequal size, beside DeeperCluster's of the same name
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
            encoder=dict(standardize=False),
            view=dict(name='simclr', size=32, scale=(0.3, 1.0)),
            epochs=2,
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), cluster=dict()),
    ),
    'imagenet': dict(
        batch=256,
        steps=1_000_000,  # 200 epochs
        dtype='bfloat16',
        data=dict(name='tfds:imagenet2012', test='validation', validation=10000, size=256),
        model=dict(
            encoder=dict(name='resnet50'),
            neck=dict(dims=(4096, 4096), norm=None, last_norm=False),
            view=dict(name='crop', size=224, scale=(0.08, 1.0)),
            clusters=10000,
            dims=256,
            rounds=20,
            epochs=1,
        ),
        optim=dict(
            net=dict(name='sgd', learning_rate=0.05, weight_decay=1e-5, warmup=0, shape='constant')
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='deepcluster',
        steps=3500,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            neck=dict(name='mlp', dims=(512,), norm='batch', last_norm=True, last_activation=True),
            view=dict(name='ink'),
            clusters=300,
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
