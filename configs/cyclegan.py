"""CycleGAN between digits and their noisy negatives."""

from ssljax.config import config

ADAM = dict(name='adam', learning_rate=2e-4, b1=0.5, shape='linear')
DIGITS = dict(name='digits')

VARIANTS = {
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(
            name='unpaired',
            x=dict(name='viewed', of=DIGITS, view=dict(name='ink')),
            y=DIGITS,
            apart=True,
        ),
        model=dict(
            generator=dict(width=4, blocks=1, halvings=1),
            critic=dict(width=4, depth=1),
            pool=16,
        ),
        log=dict(every=2),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='cyclegan',
        steps=2000,
        batch=8,
        data=dict(name='unpaired', x=DIGITS, y=DIGITS),
        model=dict(
            generator=dict(name='translator', width=12, blocks=2, halvings=1),
            critic=dict(name='patch_critic', width=16, depth=2),
        ),
        optim=dict(generators=ADAM, critics=ADAM),
        evals=dict(),
        log=dict(every=100),
    )
