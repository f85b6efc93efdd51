"""Pseudo-labels on glyphs, ten of each class with a label: two minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(error_rate=dict(size=1000)),
        judge='error_rate.error',
        steps=400,
        batch=64,
        data=dict(of=dict(train=2000, validation=100, test=1000), per_class=20),
        model=dict(epochs=4),
        optim=dict(net=dict(warmup=20)),
    ),
    'smoke': dict(
        steps=6,
        batch=16,
        data=dict(of=dict(train=48, validation=32, test=32, classes='ABCDE'), per_class=2),
        model=dict(
            encoder=dict(widths=(8, 16)),
            view=dict(noise=0.1),
            epochs=0.5,
            threshold=0.15,
            anew=True,
            trusted=False,
        ),
        optim=dict(net=dict(warmup=1)),
        log=dict(every=2),
    ),
    'supervised': dict(model=dict(epochs=1000)),  # the given labels alone, all the time
    # a fifth of all labels is wrong; the net may correct each
    'noise': dict(
        steps=4000,  # a round is 998
        data=dict(name='noisy_labels', of=dict(name='glyphs'), rate=0.2, keep=('true_label',)),
        model=dict(threshold=0.0, trusted=False, epochs=6.4),
        log=dict(evaluate=998),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='pseudo_label',
        steps=3000,
        batch=128,
        data=dict(
            name='few_labels',
            of=dict(name='glyphs', train=10_000),
            per_class=10,
            share=0.5,
            keep=('true_label',),
        ),
        model=dict(
            encoder=dict(name='conv', widths=(16, 32, 64), standardize=True),
            view=dict(name='ink'),
            epochs=4,
            threshold=0.5,
            anew=False,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=0.1, warmup=50)),
        evals=dict(error_rate=dict()),
        # a round is 600 steps
        log=dict(every=50, evaluate=600, curve=dict(error_rate=dict(split='validation'))),
        checkpoint=dict(every=500),
    )
