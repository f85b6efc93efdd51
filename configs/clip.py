"""CLIP on captioned scenes of colored letters: three minutes on two CPU cores."""

from ssljax.config import config

PROMPTS = (
    'a {}',
    'a picture of a {}',
    'there is a {}',
    'a large {} at the center',
    'a small {} at the top left',
    'a photo of a {}.',  # with a word and a sign that training has not
)
VARIANTS = {
    'learn': dict(
        steps=300,
        batch=64,
        data=dict(size=32, train=6000, validation=0),
        model=dict(encoder=dict(widths=(16, 32, 64)), view=dict(size=32)),
        evals=dict(zero_shot=None),
        judge='cross_retrieval.image_recall_1',
    ),
    'smoke': dict(
        steps=4,
        batch=16,
        data=dict(size=16, train=64, validation=32, test=32),
        model=dict(
            encoder=dict(widths=(8, 16)),
            text_encoder=dict(width=16, depth=1, heads=2),
            dim=8,
            view=dict(size=16),
            limit=14.0,
        ),
        optim=dict(net=dict(warmup=1)),
        log=dict(every=2),
    ),
    'siglip': dict(model=dict(siglip=True)),
    'flickr': dict(  # 800 photographs, five captions each
        steps=400,
        data=dict(name='tfds:flickr8k_1k', size=64, text='captions'),
        model=dict(
            text_encoder=dict(name='bag', width=128),
            view=dict(size=64, scale=(0.3, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5),
        ),
        optim=dict(net=dict(learning_rate=1e-3, weight_decay=0.5, warmup=40)),
        evals=dict(zero_shot=None),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='clip',
        steps=1200,
        batch=128,
        data=dict(name='scenes'),
        model=dict(
            encoder=dict(name='conv', widths=(24, 48, 96, 128)),
            text_encoder=dict(name='text_transformer', width=64, depth=2, heads=2, context=16),
            dim=64,
            view=dict(name='crop', size=48, scale=(0.75, 1.0), ratio=(1.0, 1.0), flip=0.0),
        ),
        optim=dict(net=dict(name='adamw', learning_rate=4e-3, weight_decay=0.1, warmup=100)),
        evals=dict(zero_shot=dict(prompts=PROMPTS), cross_retrieval=dict()),
        checkpoint=dict(every=400),
    )
