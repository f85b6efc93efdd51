"""Siamese nets: digits on a map of the plane; triplets, signatures, symbols from one example."""

from ssljax.config import config

# 60 characters, those that look like a digit left out; 15 of them are for test alone
CHARACTERS = '0123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz'
SYMBOLS = dict(
    name='pairs',
    times=4,
    of=dict(name='classes_apart', test=15, of=dict(name='glyphs', classes=CHARACTERS)),
)
VARIANTS = {
    'learn': dict(
        steps=300,
        batch=64,
        optim=dict(net=dict(warmup=20)),
        evals=dict(plane=dict()),
        judge='plane.accuracy',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(of=dict(name='glyphs', train=64, validation=32, test=32, classes='0123')),
        model=dict(
            encoder=dict(widths=(4, 8)), head=dict(dims=(3,)), view=dict(name='ink'), margin=1.5
        ),
        optim=dict(net=dict(warmup=1)),
        evals=dict(plane=dict()),
        log=dict(every=2),
    ),
    'mnist': dict(
        steps=3000,
        batch=128,
        data=dict(of=dict(name='tfds:mnist', validation=5000)),
        model=dict(encoder=dict(widths=(16, 32, 64), kernel=3)),
        optim=dict(net=dict(warmup=100)),
        evals=dict(verification=dict()),
    ),
    # of characters that training never sees: what is retrieved, and how they cluster
    'triplet': dict(
        steps=3000,
        data=dict(name='classes_apart', test=15, of=dict(name='glyphs', classes=CHARACTERS)),
        model=dict(
            encoder=dict(widths=(16, 32, 64, 128), kernel=3, norm='batch', standardize=True),
            head=dict(dims=(64,)),
            view=dict(name='ink'),
            compare='semi_hard',
            unit=True,
            margin=0.2,
        ),
        batch=128,
        evals=dict(plane=None, retrieval=dict(), kmeans=dict(clusters=15)),
    ),
    'batch_hard': dict(
        steps=3000,
        data=dict(name='classes_apart', test=15, of=dict(name='glyphs', classes=CHARACTERS)),
        model=dict(
            encoder=dict(widths=(16, 32, 64, 128), kernel=3, norm='batch', standardize=True),
            head=dict(dims=(64,)),
            view=dict(name='ink'),
            compare='batch_hard',
            margin=None,
        ),
        batch=128,
        evals=dict(plane=None, retrieval=dict(), kmeans=dict(clusters=15)),
    ),
    # the pens of writers that training never sees, and forgeries of their signatures
    'signature': dict(
        steps=1000,
        data=dict(name='pens'),
        model=dict(
            encoder=dict(
                name='time_delay',
                widths=(16, 32, 64),
                kernels=(5, 5, 5),
                strides=(2, 2, 2),
                pool='flatten',
            ),
            head=dict(dims=(64,)),
        ),
        batch=128,
        evals=dict(plane=None, verification=dict()),
    ),
    'one_shot': dict(
        steps=3000,
        data=SYMBOLS,
        model=dict(
            encoder=dict(widths=(16, 32, 64, 128), kernel=3, norm='batch', standardize=True),
            head=dict(dims=(64,)),
            view=dict(name='ink'),
        ),
        batch=128,
        evals=dict(
            plane=None, verification=dict(), few_shot=dict(shots=(1,)), retrieval=dict()
        ),
    ),
    # its test split has other alphabets than its train split; points of length one, four of five
    # pairs unlike, and these pushed to right angles
    'omniglot': dict(
        steps=1500,
        data=dict(times=20, share=0.2, of=dict(name='tfds:omniglot', size=28)),
        model=dict(
            encoder=dict(widths=(32, 64, 128), kernel=3, norm='batch', standardize=True),
            head=dict(dims=(64,)),
            view=dict(
                name='ink', shift=2.0, blur=(0.05, 0.5), polarity=0.0, field=0.0, noise=0.05,
                cutout=0.0,
            ),
            unit=True,
            margin=1.4,
        ),
        batch=128,
        optim=dict(net=dict(learning_rate=5e-3)),
        evals=dict(
            plane=None,
            verification=dict(),
            few_shot=dict(ways=20, shots=(1,)),
            retrieval=dict(),
        ),
    ),
}  # fmt: skip


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='siamese',
        steps=1500,
        batch=64,
        data=dict(name='pairs', times=20, of=dict(name='digits')),
        model=dict(
            encoder=dict(name='conv', widths=(32, 64), kernel=3),
            head=dict(name='mlp', dims=(2,)),
            view=dict(name='identity'),
        ),
        optim=dict(net=dict(name='adamw', learning_rate=2e-3, weight_decay=1e-4, warmup=50)),
        evals=dict(plane=dict()),
        checkpoint=dict(every=500),
    )
