"""CycleGAN between printed lines and photographs of them: five minutes on two CPU cores.

With --config.steps=4000, sixteen minutes of one core, it restores better than a local threshold.
"""

from ssljax.config import config

ADAM = dict(name='adam', learning_rate=5e-4, b1=0.5, shape='linear')
LINES = dict(name='lines', train=2000, validation=200, test=500)
UNEVEN = dict(name='document', kinds=('photograph',), severity=0.6)
DIGITS = dict(name='digits')

# Light is lost on the way to a clean page: the weights of the paper, 10 and 5, keep it there, since
# without it nobody finds the way back. With 2 and 1 it goes, and letters still stay what they are.
WEIGHTS = dict(cycle=2.0, identity=1.0)

VARIANTS = {
    'learn': dict(
        evals=dict(restoration=dict(size=200)),
        judge='restoration.f1',
        steps=400,
        batch=8,
        data=dict(x=dict(of=dict(width=64)), y=dict(width=64)),
        model=dict(critic=dict(width=8)),
    ),
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(x=dict(of=DIGITS, view=dict(severity=0.5)), y=DIGITS),
        model=dict(
            generator=dict(width=4, blocks=1, halvings=1, kernel=5),
            critic=dict(width=4, depth=1),
            pool=64,
        ),
        evals=dict(restoration=dict(size=16)),
        log=dict(every=2),
    ),
    'digits': dict(
        batch=16,
        steps=1500,
        data=dict(x=dict(of=DIGITS), y=DIGITS),
        model=dict(generator=dict(width=12, halvings=1), critic=dict(depth=1)),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='cyclegan',
        steps=1200,
        batch=2,
        data=dict(
            name='unpaired', x=dict(name='viewed', of=LINES, view=UNEVEN), y=LINES, apart=True
        ),
        model=dict(
            generator=dict(name='translator', width=8, blocks=2, halvings=2, skip=True),
            critic=dict(name='patch_critic', width=12, depth=2),
            **WEIGHTS,
        ),
        optim=dict(generators=ADAM, critics=ADAM),
        evals=dict(restoration=dict(size=300)),
        log=dict(every=100),
        checkpoint=dict(every=500),
    )
