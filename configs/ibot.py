"""iBOT with a small vit on squares of two photographs; also with the parts of DINOv2 and DINOv3.

Weight decay and `clip` are as in dino.py, and so other than the authors'.
"""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(knn=dict(bank_size=4000, query_size=1000)),
        judge='knn.accuracy',
        steps=700,
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(name='glyphs', train=64, validation=32, test=32),
        model=dict(
            patch=8,
            encoder=dict(width=16, depth=1, heads=2, size=32),
            head=dict(dims=(16, 8)),
            prototypes=32,
            global_view=dict(size=32),
            local_view=dict(size=16),
            shared=False,
            masked=0.4,
            ratios=(0.3, 0.5),
            teacher_temperature=(0.04, 0.06),
            warmup=0.75,
            weights=(0.9, 1.1),
            koleo=0.2,
            gram=0.5,
            gram_every=2,
        ),
        optim=dict(student=dict(warmup=1)),
        evals=dict(knn=dict(k=5)),
        log=dict(every=2),
    ),
    'class': dict(model=dict(weights=(1.0, 0.0))),
    'patch': dict(model=dict(weights=(0.0, 1.0))),
    'dinov2': dict(model=dict(shared=False, centering='sinkhorn', koleo=0.1)),
    # its patches stay to each other as those of the teacher of step 200 were
    'dinov3': dict(
        model=dict(shared=False, centering='sinkhorn', koleo=0.1, gram=2.0, gram_every=200)
    ),
    'cifar10_small': dict(
        batch=128,
        steps=1500,
        data=dict(name='tfds:cifar10', validation=5000),
        model=dict(
            patch=8,
            encoder=dict(size=32),
            global_view=dict(size=32, scale=(0.25, 1.0)),
            local_view=dict(size=16),
        ),
        optim=dict(student=dict(warmup=120)),
        evals=dict(knn=dict(bank_size=None), linear_probe=dict(train_size=None), rank=dict()),
    ),
    'imagenet': dict(
        batch=1024,
        steps=125_000,  # 100 epochs
        dtype='bfloat16',
        data=dict(name='tfds:imagenet2012', test='validation', validation=10000, size=256),
        model=dict(
            patch=16,
            encoder=dict(name='vit_small'),
            head=dict(dims=(2048, 2048, 256)),
            prototypes=8192,
            global_view=dict(size=224, scale=(0.25, 1.0), flip=0.5, blur=0.5, solarize=0.1),
            local_view=dict(size=96, scale=(0.05, 0.25), flip=0.5, blur=0.5),
            local_views=10,
            teacher_temperature=(0.04, 0.07),
            warmup=30,
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
        method='ibot',
        steps=400,
        batch=64,
        data=dict(name='patches', size=16),
        model=dict(
            patch=4,
            encoder=dict(name='vit', width=64, depth=2, heads=2, activation='relu', size=16),
            head=dict(name='mlp', dims=(192, 192, 48), activation='gelu'),
            prototypes=512,
            global_view=dict(name='simclr', size=16, scale=(0.4, 1.0), flip=0.5, solarize=0.1),
            local_view=dict(name='simclr', size=8, scale=(0.1, 0.4), flip=0.5),
            local_views=2,
            teacher_temperature=(0.04, 0.04),
            momentum=0.98,
        ),
        optim=dict(
            student=dict(
                name='adamw', learning_rate=3e-3, weight_decay=0.04, warmup=40, end=0.02, clip=3.0
            )
        ),
        evals=dict(knn=dict(), rank=dict()),
        checkpoint=dict(every=500),
    )
