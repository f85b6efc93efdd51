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
            beta=0.5,
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(knn=dict(k=5), samples=dict(count=16, judge_steps=4)),
        log=dict(every=2),
    ),
    'autoencoder': dict(model=dict(beta=0.0), evals=dict(samples=None)),
    'mnist': dict(  # black and white by a fixed draw, as in the literature
        steps=16000,
        batch=100,
        data=dict(name='binarized', of=dict(name='tfds:mnist', validation=5000)),
        model=dict(
            encoder=dict(dims=(500, 500), activation='tanh'),
            decoder=dict(dims=(500, 500, 784), activation='tanh'),
            latent=40,
        ),
        optim=dict(net=dict(learning_rate=1e-3)),
        evals=dict(evidence=dict(size=None, samples=200), knn=None),
    ),
    'fashion_mnist': dict(  # gray levels: the mass of 8-bit images
        steps=8000,
        batch=100,
        data=dict(name='tfds:fashion_mnist', validation=5000),
        model=dict(
            encoder=dict(dims=(500, 500), activation='tanh'),
            decoder=dict(dims=(500, 500, 784), activation='tanh'),
            latent=40,
            likelihood='logistic',
        ),
        optim=dict(net=dict(learning_rate=1e-3)),
        evals=dict(evidence=dict(samples=200), knn=None),
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
        ),
        optim=dict(net=dict(name='adam', learning_rate=2e-3, warmup=100)),
        evals=dict(
            samples=dict(),
            reconstruction=dict(),
            latents=dict(),
            knn=dict(),
        ),
        checkpoint=dict(every=1000),
    )
