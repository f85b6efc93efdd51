"""OBoW on squares of two photographs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=1200,
        optim=dict(student=dict(warmup=40)),
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 12)),
            generator=dict(dims=(16, 12)),
            whole_view=dict(size=24),
            view=dict(size=16),
            local_view=dict(size=12),
            local_views=2,
            vocabulary=72,  # no multiple of a step's words
            border=1,
            side=2,
            kappa=3.0,
            sharpness=2.0,
            momentum=0.9,
        ),
        optim=dict(student=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'cifar10_small': dict(
        steps=1500,
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256), pool='flatten'),
            generator=dict(dims=(256, 1024)),
            whole_view=dict(size=32),
            view=dict(size=32, scale=(0.25, 1.0), blur=0.0),
            vocabulary=1024,
        ),
        optim=dict(student=dict(warmup=120, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='obow',
        steps=2500,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64), pool='mean'),
            generator=dict(name='mlp', dims=(128, 64), norm='batch'),
            whole_view=dict(name='crop', size=16, scale=(1.0, 1.0), ratio=(1.0, 1.0)),
            view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, blur=0.0),
            local_view=dict(name='simclr', size=8, scale=(0.1, 0.4)),
            local_views=0,
            vocabulary=1024,
            border=0,
            side=1,
            momentum=0.98,
        ),
        optim=dict(student=dict(name='adamw', learning_rate=3e-3, weight_decay=0.1, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
