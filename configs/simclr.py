"""SimCLR on glyphs: three minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=800,
        batch=64,
        data=dict(train=4000, validation=100, test=2000),
        optim=dict(net=dict(warmup=20)),
        evals=dict(knn=dict(bank_size=None, query_size=None)),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            encoder=dict(name='conv', widths=(8, 16)), projector=dict(name='mlp', dims=(32, 16))
        ),
        evals=dict(knn=dict(k=5), linear_probe=dict(l2=(0.01, 0.1), steps=10)),
        log=dict(every=2),
        optim=dict(net=dict(warmup=1)),
    ),
    'cifar10': dict(
        batch=512,
        steps=17600,  # 200 epochs of what is not held out
        dtype='bfloat16',
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(name='resnet18', stem='cifar'),
            projector=dict(name='mlp', dims=(512, 128), norm='batch'),
            view=dict(name='simclr', size=32),
            temperature=0.2,
        ),
        optim=dict(
            net=dict(name='sgd', learning_rate=0.12, momentum=0.9, weight_decay=5e-4, warmup=880)
        ),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None)),
    ),
    'cifar10_small': dict(
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(widths=(32, 64, 128, 256), standardize=False),
            projector=dict(dims=(256, 64)),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0)),
            temperature=0.2,
        ),
        optim=dict(net=dict(learning_rate=3e-3, warmup=240, end=0.02)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None)),
    ),
    'dcl': dict(model=dict(decoupled=True)),
    'folder': dict(  # type --config.data.path=DIR
        steps=1500,
        data=dict(name='folder', size=48),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128)),
            view=dict(name='simclr', size=48),
            temperature=0.2,
        ),
        optim=dict(net=dict(learning_rate=2e-3, warmup=50)),
    ),
    'mnist': dict(data=dict(name='tfds:mnist', validation=5000)),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='simclr',
        steps=3000,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            projector=dict(name='mlp', dims=(512, 128), norm='batch'),
            view=dict(name='ink'),
            temperature=0.15,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=4e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict()),
        log=dict(
            evaluate=1000,
            curve=dict(
                knn=dict(
                    queries='validation',
                    bank_size=2000,
                    query_size=1000,
                    whiten=False,
                    picture=False,
                ),
                # a tenth of its rows choose the penalty
                linear_probe=dict(
                    train_size=2000, validation='none', test='validation', test_size=1000
                ),
            ),
        ),
        checkpoint=dict(every=500),
    )
