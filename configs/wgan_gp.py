"""WGAN-GP on glyphs."""

from configs import base

ADAM = dict(name='adam', learning_rate=5e-4, b1=0.0, b2=0.9, shape='linear')

VARIANTS = {
    'learn': dict(
        steps=350,
        batch=32,
        data=dict(train=2000, validation=100, test=500),
        model=dict(latent=16),
    ),
    'smoke': dict(
        steps=6,
        batch=16,
        data=dict(train=64, validation=32, test=32),
        model=dict(generator=dict(width=4), critic=dict(width=4), latent=8, critics=2),
        evals=dict(samples=dict(count=16, judge_steps=4)),
        log=dict(every=2),
    ),
    'mnist': dict(data=dict(name='tfds:mnist', size=32, validation=5000)),
    'cifar10': dict(
        steps=200000,
        batch=64,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(generator=dict(width=128, channels=3), critic=dict(width=128)),
    ),
}


def get_config(variant=''):
    return base.config(
        VARIANTS,
        variant,
        method='wgan_gp',
        steps=6000,
        batch=64,
        data=dict(name='glyphs'),
        model=dict(
            generator=dict(name='dcgan_generator', size=32, width=16, channels=1),
            critic=dict(name='dcgan_critic', width=16),
            latent=64,
        ),
        optim=dict(critic=ADAM, generator=ADAM),
        evals=dict(samples=dict()),
        checkpoint=dict(every=1000),
    )
