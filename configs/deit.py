"""DeiT on CIFAR-10: a small vit beside the convolutional net that teaches it.

First
python -m ssljax.train --config=configs/classifier.py:cifar10_conv --workdir=runs/deit-teacher
"""

from ssljax.config import config


def of(workdir):
    """The graft of a run of the classifier, its statistics with it."""
    return {
        'memory/teacher/params': f'{workdir}:params',
        'memory/teacher/stats': f'{workdir}:memory/stats',
    }


ALONE = ('learn', 'smoke')  # their nets are smaller than those of that run: type a graft

VARIANTS = {
    'learn': dict(
        # of the class token: where the teacher knows nothing, as in tests, its follower does not
        evals=dict(error_rate=None, knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=900,
        batch=64,
        data=dict(name='glyphs', train=4000, validation=100, test=1000, classes='ABCDEFGH'),
        model=dict(
            encoder=dict(width=32, depth=2),
            teacher=dict(widths=(8, 16)),
            view=dict(name='ink'),
            hard=False,
        ),
        optim=dict(net=dict(warmup=20)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(patch=8, width=16, depth=1),
            teacher=dict(widths=(8, 16)),
            hard=False,
            temperature=2.0,
            weight=0.4,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'soft': dict(model=dict(hard=False)),
    'one_token': dict(model=dict(token=False)),
    'labels': dict(model=dict(token=False, hard=False, weight=0.0)),  # the teacher says nothing
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='deit',
        steps=600,
        batch=128,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            encoder=dict(
                name='vit', patch=4, width=64, depth=3, heads=2, activation='relu', size=32
            ),
            teacher=dict(name='conv', widths=(32, 64, 128, 256)),
            view=dict(name='crop', size=32, scale=(0.4, 1.0), flip=0.5),
        ),
        graft={} if variant in ALONE else of('runs/deit-teacher'),
        optim=dict(
            net=dict(name='adamw', learning_rate=2e-3, weight_decay=0.05, warmup=60, end=0.02)
        ),
        evals=dict(error_rate=dict()),
        checkpoint=dict(every=500),
    )
