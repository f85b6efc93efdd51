"""MSN with a small vit on squares of two photographs: three minutes on two CPU cores.

Weight decay is constant, and of the prototypes, too; the authors' rises from 0.04 to 0.4 and leaves
them out.
"""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=600,
        data=dict(size=16),
        model=dict(encoder=dict(size=16), view=dict(size=16), focal_view=dict(size=8)),
        optim=dict(net=dict(warmup=40)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            patch=8,
            encoder=dict(width=16, depth=1, heads=2),
            projector=dict(dims=(16, 8), norm='token'),
            prototypes=12,
            masked_views=2,
            focal_views=3,
            weight=0.7,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'cifar10_small': dict(
        batch=128,
        steps=1500,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(patch=8, view=dict(scale=(0.25, 1.0))),
        optim=dict(net=dict(warmup=120)),
        evals=dict(
            knn=dict(bank_size=None),
            linear_probe=dict(train_size=None),
            rank=dict(),
            cluster=dict(),
            few_shot=dict(ways=10),
        ),
    ),
    'imagenet': dict(
        batch=1024,
        steps=125_000,  # 100 epochs
        dtype='bfloat16',
        data=dict(name='tfds:imagenet2012', test='validation', validation=10000, size=256),
        model=dict(
            patch=16,
            encoder=dict(name='vit_small'),
            projector=dict(dims=(2048, 2048, 256)),
            prototypes=1024,
            view=dict(size=224, scale=(0.3, 1.0), flip=0.5, blur=0.5),
            focal_view=dict(size=96, scale=(0.05, 0.3), flip=0.5, blur=0.5),
            focal_views=10,
            ratio=0.15,
            momentum=0.996,
        ),
        optim=dict(net=dict(learning_rate=1e-3, weight_decay=0.1, warmup=18_750)),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='msn',
        steps=1200,
        batch=64,
        data=dict(name='patches', size=32),
        model=dict(
            patch=4,
            encoder=dict(name='vit', width=64, depth=2, heads=2, activation='relu', size=32),
            projector=dict(name='mlp', dims=(192, 192, 48), norm='batch', activation='gelu'),
            prototypes=128,
            view=dict(name='simclr', size=32, scale=(0.4, 1.0), flip=0.5),
            focal_view=dict(name='simclr', size=16, scale=(0.1, 0.4), flip=0.5),
            masked_views=1,
            focal_views=2,
            ratio=0.5,
            momentum=0.98,
        ),
        optim=dict(
            net=dict(
                name='adamw', learning_rate=3e-3, weight_decay=0.04, warmup=120, end=0.02, clip=3.0
            )
        ),
        evals=dict(knn=dict(), linear_probe=dict(), cluster=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )  # fmt: skip
