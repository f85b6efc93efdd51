"""MoCo v2 on squares of two photographs; also v1, and v3 with a small vit."""

from ssljax.config import config

V3 = dict(
    model=dict(
        encoder=dict(name='vit', patch=4, width=64, depth=2, heads=2, activation='relu', size=16),
        projector=dict(dims=(128, 128, 32), norm='batch', last_norm=True),
        predictor=dict(name='mlp', dims=(128, 32), norm='batch', last_norm=True),
        queue=0,
        symmetric=True,
    )
)

VARIANTS = {
    'learn': dict(
        steps=1200,
        optim=dict(query=dict(warmup=40)),
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            projector=dict(dims=(32, 8), norm='batch'),
            view=dict(size=16),
            queue=72,  # no multiple of a step's keys, 16, or 32 of a symmetric loss
            temperature=0.3,
            momentum=0.9,
        ),
        optim=dict(query=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'v1': dict(
        model=dict(projector=dict(dims=(32,)), view=dict(jitter=1.0, blur=0.0), temperature=0.07)
    ),
    'v3': V3
    | dict(
        optim=dict(
            query=dict(
                # section 4.2: the patches' projection stays as it was drawn
                groups=dict(patches=dict(match='^encoder/embed/', name='sgd', learning_rate=0.0))
            )
        )
    ),
    'v3_unfrozen': V3,  # the patches' projection learns, too: what section 4.2 compares with
    'cifar10_small': dict(
        steps=5400,  # as many minutes as SimCLR, BYOL and SimSiam at 3000
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256)),
            projector=dict(dims=(512, 128)),
            view=dict(size=32, scale=(0.25, 1.0), blur=0.0),
            queue=4096,
        ),
        optim=dict(query=dict(warmup=240, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='moco',
        steps=3000,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64)),
            projector=dict(name='mlp', dims=(128, 32)),
            view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, blur=0.2),
            queue=1024,
            momentum=0.99,
        ),
        optim=dict(query=dict(name='adamw', learning_rate=3e-3, weight_decay=0.1, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
