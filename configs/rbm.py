"""RBM on scikit-learn's handwritten digits in black and white: a minute on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        steps=300,
        batch=64,
        model=dict(hidden=12),
        evals=dict(density=dict()),
        judge='density.nats',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        model=dict(hidden=6, steps=2, chains=12, momentum=0.9),
        evals=dict(
            annealed=None,
            samples=dict(count=16, judge_steps=4),
            knn=dict(k=5),
            filters=dict(count=4),
        ),
        log=dict(every=2),
    ),
    # so few hidden units that log Z is a sum: `density` is exact, `annealed` has to agree with it
    'exact': dict(model=dict(hidden=16), evals=dict(density=dict(), annealed=dict(steps=2000))),
    'mnist': dict(
        steps=10000,
        data=dict(of=dict(name='tfds:mnist', validation=5000)),
        model=dict(hidden=500),
        optim=dict(rbm=dict(learning_rate=0.05)),
        evals=dict(
            annealed=dict(steps=3000),
            samples=dict(count=500, options=dict(steps=200)),
            knn=dict(bank_size=20000, query_size=2000),
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='rbm',
        steps=12000,
        batch=100,
        data=dict(name='black_and_white', of=dict(name='digits')),
        model=dict(hidden=128, steps=1, chains=100),
        optim=dict(rbm=dict(name='sgd', learning_rate=0.1, momentum=0.0, shape='linear')),
        evals=dict(
            annealed=dict(),
            samples=dict(),
            reconstruction=dict(),
            knn=dict(),
            filters=dict(),
        ),
        log=dict(every=500),
        checkpoint=dict(every=5000),
    )
