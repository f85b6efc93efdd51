"""Contrastive predictive coding of patches of photographs, of three notes, of spoken digits."""

from ssljax.config import config

SOUND = dict(
    encoder=dict(
        name='time_delay', widths=(64, 64, 64, 64), kernels=(10, 8, 4, 4), strides=(5, 4, 4, 2),
        norm='token',
    ),
    context=dict(name='gru', width=64),
    view=dict(name='identity'),
    ahead=6,
    skip=0,
    features='context',
)  # fmt: skip
VARIANTS = {
    'learn': dict(
        steps=600,
        batch=32,
        optim=dict(net=dict(warmup=20)),
        evals=dict(ahead=dict(), knn=None, linear_probe=None),
        judge='ahead.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(patch=12, widths=(4, 8), width=8),
            context=dict(width=8, depth=2),
            view=dict(scale=(0.5, 1.0)),
            ahead=2,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(ahead=dict(among=8), knn=dict(k=5), linear_probe=None),
        log=dict(every=2),
    ),
    'tones': dict(steps=600, data=dict(name='tones'), model=SOUND),
    # type --config.data.path
    'fsdd': dict(steps=600, data=dict(name='sound', seconds=0.5, validation=3), model=SOUND),
    'cifar10': dict(
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(encoder=dict(widths=(32, 64, 128), width=128)),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='cpc',
        steps=1000,
        batch=64,
        data=dict(name='patches', size=32),
        model=dict(
            # 7 x 7 patches; those of every second row have no pixel in common
            encoder=dict(name='patch_grid', patch=8, apart=4, widths=(32, 64), width=64),
            context=dict(name='row_context', width=64, depth=3),
            view=dict(name='crop', size=32, scale=(0.6, 1.0)),
            ahead=3,
            skip=1,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=2e-3, weight_decay=1e-4, warmup=50)),
        evals=dict(ahead=dict(), knn=dict(), linear_probe=dict()),
        checkpoint=dict(every=500),
    )
