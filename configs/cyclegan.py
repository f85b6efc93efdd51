"""CycleGAN between printed lines and photographs of them: ten minutes on two CPU cores."""

from ssljax.config import config

ADAM = dict(name='adam', learning_rate=5e-4, b1=0.5, shape='linear')
LINES = dict(name='lines', train=6000, validation=200, test=500)
UNEVEN = dict(name='document', kinds=('photograph',), severity=0.6)
DIGITS = dict(name='digits')
NEGATIVE = dict(name='simclr', size=8, scale=(1, 1), flip=0, jitter=0, gray=0, solarize=1)

VARIANTS = {
    'digits': dict(
        batch=16,
        steps=1500,
        data=dict(x=dict(of=DIGITS, view=NEGATIVE), y=DIGITS),
        model=dict(critic=dict(depth=1)),
    ),
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(x=dict(of=DIGITS, view=dict(severity=0.5)), y=DIGITS),
        model=dict(
            generator=dict(width=4, blocks=1, halvings=1, skip=True),
            critic=dict(width=4, depth=1),
            pool=16,
        ),
        evals=dict(restoration=dict(size=16)),
        log=dict(every=2),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='cyclegan',
        steps=2500,
        batch=2,
        data=dict(
            name='unpaired', x=dict(name='viewed', of=LINES, view=UNEVEN), y=LINES, apart=True
        ),
        model=dict(
            generator=dict(name='translator', width=12, blocks=2, halvings=1),
            critic=dict(name='patch_critic', width=12, depth=2),
        ),
        optim=dict(generators=ADAM, critics=ADAM),
        evals=dict(restoration=dict()),
        log=dict(every=100),
        checkpoint=dict(every=500),
    )
