"""An energy-based model of scikit-learn's handwritten digits: three minutes on two CPU cores."""

from ssljax.config import config

POINTS = dict(
    steps=4000,
    batch=256,
    data=dict(name='density', kind='gaussians'),
    model=dict(
        encoder=dict(name='mlp', dims=(128, 128), activation='silu', last_activation=True),
        steps=20,
        rate=0.01,
        noise=0.1,  # the root of the rate: eq. 1 keeps exp(-E)
        clip=0.0,
        reach=4.0,
        replay=4096,
        fresh=0.0,
        blur=0.0,
        penalty=0.0,
    ),
    optim=dict(energy=dict(learning_rate=1e-3)),
    evals=dict(density=dict(), density_map=dict(), samples=dict(), out_of_class=None, filters=None),
)
MNIST = dict(name='tfds:mnist', validation=5000)

VARIANTS = {
    'learn': POINTS | dict(steps=300, judge='density.nats'),
    'smoke': dict(
        steps=4,
        batch=16,
        model=dict(
            encoder=dict(widths=(4, 8)), steps=2, rate=0.1, noise=0.01, replay=64, fresh=0.25
        ),
        optim=dict(energy=dict(warmup=1)),
        evals=dict(samples=dict(count=16, judge_steps=4), out_of_class=dict(size=16)),
        log=dict(every=2),
    ),
    'points': POINTS,
    'mnist': dict(
        steps=1000,
        data=MNIST,
        model=dict(encoder=dict(widths=(16, 32, 64))),
        evals=dict(
            samples=dict(count=500), out_of_class=dict(other=dict(name='tfds:fashion_mnist'))
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='energy',
        steps=2000,
        batch=64,
        data=dict(name='digits'),
        model=dict(
            encoder=dict(name='conv', widths=(32, 64), norm=None, activation='silu'),
            steps=20,
            rate=10.0,
            noise=0.01,
            clip=0.03,
            replay=2000,
            blur=0.03,
            penalty=0.1,
        ),
        optim=dict(energy=dict(name='adam', learning_rate=3e-4, b1=0.0, warmup=100)),
        evals=dict(samples=dict(), out_of_class=dict(), filters=dict()),
        log=dict(every=200),
        checkpoint=dict(every=500),
    )
