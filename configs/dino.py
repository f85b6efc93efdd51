"""DINO on squares of two photographs: four minutes on two CPU cores.

Weight decay is constant, where the authors' rises from 0.04 to 0.4, and `clip` bounds the whole
gradient, where theirs bounds that of each param.

A minute each, on CIFAR-10: `:centered` does not sharpen the teacher, `:sharpened` does not center
it, `:neither` does neither; `:both` is DINO, and `:whole` is DINO without small crops.
"""

from ssljax.config import config


def short(**model):
    """A minute on one CPU core."""
    return dict(
        steps=700,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(encoder=dict(patch=8), **model),
        optim=dict(student=dict(warmup=70)),
        evals=dict(knn=dict(picture=False), rank=dict(), linear_probe=None, attention=None),
        log=dict(every=10),
    )


SHARP_AS_STUDENT = dict(teacher_temperature=(0.1, 0.1))
CENTER_AT_ZERO = dict(center_momentum=1.0)

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=500,
        data=dict(size=16),
        model=dict(encoder=dict(size=16), global_view=dict(size=16), local_view=dict(size=8)),
        optim=dict(student=dict(warmup=40)),
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            encoder=dict(width=16, depth=1, heads=2),
            head=dict(dims=(16, 8)),
            prototypes=32,
            frozen=0.25,
        ),
        optim=dict(student=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'both': short(),
    'centered': short(**SHARP_AS_STUDENT),
    'sharpened': short(**CENTER_AT_ZERO),
    'neither': short(**SHARP_AS_STUDENT, **CENTER_AT_ZERO),
    'whole': short(local_views=0),
    # where its class token looks, beside masks of letters; classifier.py:scenes has the same net
    'scenes': dict(
        steps=1500,
        data=dict(name='scenes', size=48, label='letter', keep=('mask',)),
        model=dict(
            encoder=dict(patch=6, size=48),
            global_view=dict(size=48),
            local_view=dict(size=24),
        ),
        evals=dict(segmentation=dict(), knn=None, linear_probe=None),
    ),
    'cifar10_small': dict(
        steps=5000,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(encoder=dict(patch=8)),
        optim=dict(student=dict(warmup=400)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), attention=dict()),
    ),
    'folder': dict(
        steps=3000,
        data=dict(name='folder', size=64),
        model=dict(
            encoder=dict(patch=8, depth=3, size=48),
            global_view=dict(size=48),
            local_view=dict(size=24),
        ),
        optim=dict(student=dict(warmup=240)),
    ),
    'imagenet': dict(
        batch=1024,
        steps=125_000,  # 100 epochs
        dtype='bfloat16',
        data=dict(name='tfds:imagenet2012', test='validation', validation=10000, size=256),
        model=dict(
            encoder=dict(name='vit_small', patch=16),
            head=dict(dims=(2048, 2048, 256)),
            prototypes=65536,
            global_view=dict(size=224, scale=(0.25, 1.0), flip=0.5, blur=0.5, solarize=0.1),
            local_view=dict(size=96, scale=(0.05, 0.25), flip=0.5, blur=0.5),
            local_views=8,
            teacher_temperature=(0.04, 0.07),
            warmup=30,
            frozen=1,
            momentum=0.996,
        ),
        # the rate ends at 1e-6
        optim=dict(
            student=dict(learning_rate=2e-3, weight_decay=0.1, warmup=12_500, end=5e-4),
        ),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='dino',
        steps=1200,
        batch=64,
        data=dict(name='patches', size=32),
        model=dict(
            encoder=dict(
                name='vit', patch=4, width=64, depth=2, heads=2, activation='relu', size=32
            ),
            head=dict(name='mlp', dims=(192, 192, 48), activation='gelu'),
            prototypes=512,
            global_view=dict(name='simclr', size=32, scale=(0.4, 1.0), flip=0.5, solarize=0.1),
            local_view=dict(name='simclr', size=16, scale=(0.1, 0.4), flip=0.5),
            local_views=2,
            teacher_temperature=(0.04, 0.04),
            frozen=0.1,
            momentum=0.98,
        ),
        optim=dict(
            student=dict(
                name='adamw', learning_rate=3e-3, weight_decay=0.04, warmup=120, end=0.02, clip=3.0
            )
        ),
        evals=dict(knn=dict(), linear_probe=dict(), attention=dict()),
        checkpoint=dict(every=500),
    )
