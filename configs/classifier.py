"""A supervised classifier of glyphs: one minute on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(error_rate=dict(size=1000)),
        judge='error_rate.error',
        steps=300,
        batch=64,
        data=dict(train=4000, validation=100, test=500),
        optim=dict(net=dict(warmup=20)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(encoder=dict(name='conv', widths=(8, 16))),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    # the encoder of mae.py:cifar10_small; fine-tune one with
    # --config.graft="{'params/encoder': 'WORKDIR:params/encoder'}"
    'cifar10_vit': dict(
        steps=1000,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(
                name='vit', patch=4, width=64, depth=3, heads=2, activation='relu',
                positions='sincos', class_token=False, pool='mean', size=32,
            ),
            view=dict(name='crop', size=32, scale=(0.4, 1.0), flip=0.5),
        ),
        optim=dict(
            net=dict(learning_rate=1e-3, weight_decay=0.05, warmup=100, end=0.02, layer_decay=0.75)
        ),
        evals=dict(error_rate=dict()),
    ),
    # the encoder of dino.py:scenes; the color of the letter is learned, as so small a net does not
    # learn which letter it is
    'scenes': dict(
        steps=1500,
        batch=64,
        data=dict(name='scenes', size=48, label='color', keep=('mask',)),
        model=dict(
            encoder=dict(
                name='vit', patch=6, width=64, depth=2, heads=2, activation='relu', size=48
            ),
            view=dict(name='crop', size=48, scale=(0.4, 1.0), flip=0.0),
        ),
        optim=dict(net=dict(learning_rate=1e-3, weight_decay=0.05, warmup=100, end=0.02)),
        evals=dict(
            segmentation=dict(), attention=dict(), error_rate=dict(), knn=None, linear_probe=None
        ),
    ),
    # the encoder of simclr.py:cifar10_small and clusterfit.py:cifar10_small
    'cifar10_conv': dict(
        steps=1000,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256), standardize=False),
            view=dict(name='crop', size=32, scale=(0.4, 1.0), flip=0.5),
        ),
        optim=dict(net=dict(learning_rate=1e-3, weight_decay=0.05, warmup=100, end=0.02)),
        evals=dict(error_rate=dict()),
    ),
}  # fmt: skip


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='classifier',
        steps=2000,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            view=dict(name='ink'),
        ),
        optim=dict(net=dict(name='adamw', learning_rate=4e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(error_rate=dict(), knn=dict(), linear_probe=dict()),
        checkpoint=dict(every=500),
    )
