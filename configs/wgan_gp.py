"""WGAN-GP on scikit-learn's handwritten digits: a minute on two CPU cores."""

from ssljax.config import config

ADAM = dict(name='adam', learning_rate=5e-4, b1=0.0, b2=0.9, shape='linear')

LARGE = dict(generator=dict(size=32, width=32), critic=dict(width=32))

VARIANTS = {
    'learn': dict(
        evals=dict(samples=dict(count=500)),
        judge='samples.energy_score',
        steps=350,
        batch=32,
        model=dict(latent=16),
    ),
    'smoke': dict(
        steps=6,
        batch=16,
        model=dict(generator=dict(width=4), critic=dict(width=4), latent=8, critics=2),
        evals=dict(samples=dict(count=16, judge_steps=4)),
        log=dict(every=2),
    ),
    'glyphs': dict(data=dict(name='glyphs'), model=LARGE),
    'mnist': dict(data=dict(name='tfds:mnist', size=32, validation=5000), model=LARGE),
    'cifar10': dict(
        steps=200000,
        batch=64,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(generator=dict(size=32, width=128, channels=3), critic=dict(width=128)),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='wgan_gp',
        steps=20000,
        batch=64,
        data=dict(name='digits'),
        model=dict(
            generator=dict(name='dcgan_generator', size=8, width=64, channels=1),
            critic=dict(name='dcgan_critic', width=64),
            latent=32,
        ),
        optim=dict(critic=ADAM, generator=ADAM),
        evals=dict(samples=dict()),
        log=dict(every=500),
        checkpoint=dict(every=5000),
    )
