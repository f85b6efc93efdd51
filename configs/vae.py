"""VAE on scikit-learn's handwritten digits: a minute on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(bound=dict()),
        judge='bound.nats',
        steps=8,
        batch=32,
        optim=dict(net=dict(warmup=1)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        model=dict(
            encoder=dict(name='conv', widths=(4, 8)),
            decoder=dict(name='conv_decoder', widths=(8, 4), norm=None),
            latent=3,
            likelihood='gaussian',
            deviation=0.5,
            codes=5,
            momentum=0.8,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5), samples=dict(count=16, judge_steps=4)),
        log=dict(every=2),
    ),
    'mnist': dict(
        steps=5000,
        data=dict(name='tfds:mnist', validation=5000),
        model=dict(
            encoder=dict(name='conv', widths=(32, 64, 128)),
            decoder=dict(name='conv_decoder', widths=(64, 32, 16), norm=None),
            latent=20,
            codes=64,
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='vae',
        steps=4000,
        batch=64,
        data=dict(name='digits'),
        model=dict(
            encoder=dict(
                name='mlp', dims=(256, 128), activation='relu', last_activation=True, flatten=True
            ),
            decoder=dict(name='mlp', dims=(128, 256, 64), activation='relu'),
            latent=8,
            codes=32,
        ),
        optim=dict(net=dict(name='adam', learning_rate=2e-3, warmup=100)),
        evals=dict(
            bound=dict(),
            evidence=dict(),
            reconstruction=dict(),
            samples=dict(),
            cluster=dict(),
            knn=dict(),
        ),
        checkpoint=dict(every=1000),
    )
