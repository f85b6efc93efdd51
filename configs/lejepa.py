"""LeJEPA on squares of two photographs."""

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
            global_view=dict(size=16),
            local_view=dict(size=16),
            global_views=2,
            local_views=1,
            trade_off=0.2,
            slices=12,
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
            projector=dict(dims=(512, 512, 64)),
            global_view=dict(size=32, scale=(0.25, 1.0)),
            local_views=0,
            slices=256,
        ),
        optim=dict(net=dict(warmup=120, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='lejepa',
        steps=3000,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64)),
            projector=dict(name='mlp', dims=(256, 256, 32), norm='batch'),
            global_view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, blur=0.0),
            local_view=dict(name='simclr', size=16, scale=(0.15, 0.4), flip=0.5),
            local_views=2,
            slices=256,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=0.05, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
