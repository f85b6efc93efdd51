"""MAE on squares of two photographs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(reconstruction=dict(size=1000)),
        judge='reconstruction.removed',
        steps=400,
        data=dict(size=16),
        model=dict(encoder=dict(size=16), view=dict(size=16)),
        optim=dict(net=dict(warmup=40)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            patch=8,
            encoder=dict(width=16, depth=1, heads=2),
            decoder=dict(width=16, depth=1, heads=2, channels=1),
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'cifar10_small': dict(
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(view=dict(scale=(0.4, 1.0))),
        evals=dict(
            knn=dict(bank_size=None), linear_probe=dict(train_size=None), reconstruction=dict()
        ),
    ),
    'imagenet': dict(
        batch=4096,
        steps=250_000,  # 800 epochs
        dtype='bfloat16',
        data=dict(name='tfds:imagenet2012', test='validation', validation=10000, size=256),
        model=dict(
            patch=16,
            encoder=dict(name='vit_base', positions='sincos', pool='mean'),
            decoder=dict(width=512, depth=8, heads=16, activation='gelu', class_token=True),
            view=dict(size=224, scale=(0.2, 1.0)),
        ),
        optim=dict(net=dict(learning_rate=2.4e-3, warmup=12_500, end=0.0)),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='mae',
        steps=3000,
        batch=64,
        data=dict(name='patches', size=32),
        model=dict(
            patch=4,
            encoder=dict(
                name='vit', width=64, depth=3, heads=2, activation='relu', positions='sincos',
                class_token=False, pool='mean', size=32,
            ),
            decoder=dict(
                name='vit_decoder', width=48, depth=1, heads=2, activation='relu',
                class_token=False, channels=3,
            ),
            view=dict(name='crop', size=32, scale=(0.6, 1.0), flip=0.5),
        ),
        optim=dict(
            net=dict(
                name='adamw', learning_rate=3e-3, b2=0.95, weight_decay=0.05, warmup=240, end=0.02
            )
        ),
        evals=dict(knn=dict(), linear_probe=dict(), reconstruction=dict()),
        checkpoint=dict(every=500),
    )  # fmt: skip
