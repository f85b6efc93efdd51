"""k-means features of glyphs: one minute on two CPU cores."""

from ssljax.config import config

CIFAR10 = dict(
    data=dict(name='tfds:cifar10', validation=5000),
    model=dict(sizes=(6,), patches=2),
    evals=dict(linear_svm=dict(train_size=4000, validation_size=2000), knn=None),
)
# layers after the first go through all images twice, so these are fewer, with more patches of each;
# cifar10_one_layer has the same rows
FEWER = CIFAR10 | dict(data=dict(name='tfds:cifar10', validation=5000, rows=15000))
DEEP = dict(pool=3, groups=4, inputs=50, patches=6)

VARIANTS = {
    'learn': dict(
        data=dict(train=2000, validation=100, test=1000),
        model=dict(units=(64,)),
        evals=dict(knn=dict(bank_size=2000, query_size=1000), linear_svm=None),
        judge='knn.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            units=(12, 8), sizes=(4, 2), pool=4, groups=2, inputs=4, views=2, patches=5,
            contrast=7.0, epsilon=0.2, rounds=3,
        ),
        evals=dict(knn=dict(k=5), linear_svm=None),
        log=dict(every=2),
    ),
    'cifar10': CIFAR10 | dict(model=dict(units=(400,), patches=2)),
    'cifar10_random': CIFAR10 | dict(model=dict(units=(400,), patches=2, rounds=0)),
    'cifar10_views': CIFAR10 | dict(model=dict(units=(400,), patches=2, views=2)),
    'cifar10_one_layer': FEWER | dict(model=dict(units=(400,), patches=6)),
    'cifar10_two_layers': FEWER | dict(model=dict(units=(400, 400), sizes=(6, 2), **DEEP)),
    'cifar10_three_layers': FEWER
    | dict(model=dict(units=(400, 400, 400), sizes=(6, 2, 2), **DEEP | dict(pool=2))),
}  # fmt: skip


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='kmeans_features',
        steps=1,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(units=(200,), sizes=(6,), patches=4, rounds=10),
        evals=dict(knn=dict(), linear_svm=dict(train_size=4000, validation_size=2000)),
    )
