"""NNCLR on glyphs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=1200,
        batch=64,
        data=dict(train=4000, validation=100, test=2000),
        model=dict(queue=1024),
        optim=dict(net=dict(warmup=20)),
        evals=dict(knn=dict(bank_size=None, query_size=None)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            projector=dict(dims=(32, 16)),
            predictor=dict(dims=(24, 16)),
            queue=72,  # no multiple of a step's rows
            # at 0.3 the gradient of the third step moves by 5e-3 when the state moves by 2e-6, so
            # that one device and eight could not be compared
            temperature=0.5,
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
            projector=dict(dims=(256, 64)),
            predictor=dict(dims=(256, 64)),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
            queue=4096,
            temperature=0.2,
        ),
        optim=dict(net=dict(learning_rate=3e-3, warmup=120, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='nnclr',
        steps=2500,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            projector=dict(name='mlp', dims=(256, 64), norm='batch', last_norm=True),
            predictor=dict(name='mlp', dims=(256, 64), norm='batch'),
            view=dict(name='ink'),
            queue=4096,
            temperature=0.15,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=4e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
