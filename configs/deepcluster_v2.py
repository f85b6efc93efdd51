"""DeepCluster-v2 on squares of two photographs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=600,
        optim=dict(net=dict(warmup=40)),
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=6,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            # with 32 its gradient norm in bfloat16 is 3.3 % off, where tests allow 3; that eight
            # devices are one holds for both
            projector=dict(dims=(24, 8)),
            clusters=6,
            heads=3,
            rounds=2,
            temperature=0.2,
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
            global_view=dict(size=32, scale=(0.25, 1.0)),
            local_view=dict(size=16, scale=(0.1, 0.25)),
            clusters=300,
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='deepcluster_v2',
        steps=2500,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64), pool='mean'),
            projector=dict(name='mlp', dims=(128, 32), norm='batch'),
            global_view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5),
            local_view=dict(name='simclr', size=8, scale=(0.1, 0.4), flip=0.5),
            local_views=2,
            clusters=100,
            heads=2,
        ),
        optim=dict(
            net=dict(name='adamw', learning_rate=3e-3, weight_decay=1e-4, warmup=100, end=0.02)
        ),
        evals=dict(knn=dict(), linear_probe=dict(), cluster=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
