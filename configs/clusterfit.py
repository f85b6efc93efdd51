"""ClusterFit on glyphs, of the encoder of configs/simclr.py: three minutes on two CPU cores.

First  python -m ssljax.train --config=configs/simclr.py --workdir=runs/simclr
"""

from ssljax.config import config


def of(workdir):
    """The graft of the encoder of another run, its statistics with it."""
    return {
        'params/source/params': f'{workdir}:params/encoder',
        'params/source/stats': f'{workdir}:memory/stats/encoder',
    }


ALONE = ('learn', 'smoke')  # of a source that learned nothing: they need no other run

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=2000)),
        judge='knn.accuracy',
        steps=800,
        data=dict(train=8000, validation=100, test=2000),
        model=dict(clusters=100),
        optim=dict(net=dict(warmup=50)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(
            source=dict(name='conv', widths=(8, 12)),
            encoder=dict(widths=(8, 16)),
            clusters=8,
            rounds=3,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    # its source: python benchmarks/seeds.py --config=configs/simclr.py:cifar10_small --seeds=0
    # --config.steps=900 --out=results/clusterfit-source.json
    'cifar10_small': dict(
        steps=1500,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            source=dict(widths=(32, 64, 128, 256), standardize=False),
            encoder=dict(widths=(32, 64, 128, 256), standardize=False),
            view=dict(name='simclr', size=32, scale=(0.25, 1.0), blur=0.0),
            clusters=500,
            rounds=10,
        ),
        graft=of('runs/clusterfit-source-0'),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(), rank=dict()),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='clusterfit',
        steps=2500,
        batch=128,
        data=dict(name='glyphs'),
        model=dict(
            source=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            encoder=dict(name='conv', widths=(16, 32, 64, 128), standardize=True),
            view=dict(name='ink'),
            clusters=300,
            rounds=20,
        ),
        graft={} if variant in ALONE else of('runs/simclr'),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(knn=dict(), linear_probe=dict(), cluster=dict()),
        checkpoint=dict(every=500),
    )
