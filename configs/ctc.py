"""A reader of printed lines: fifteen minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(transcription=dict(size=300)),
        judge='transcription.character_error',
        steps=400,
        data=dict(width=96, words=1, train=4000, validation=100, test=400),
        optim=dict(net=dict(warmup=20)),
    ),
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(width=64, height=16, train=32, validation=16, test=16),
        model=dict(encoder=dict(widths=(4, 8), width=16)),
        optim=dict(net=dict(warmup=1)),
        evals=dict(transcription=dict(size=8)),
        log=dict(every=2),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='ctc',
        steps=4000,
        batch=32,
        data=dict(name='lines', keep=('positions',)),
        model=dict(encoder=dict(name='line_lstm', widths=(16, 32, 64), width=128)),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(transcription=dict()),
        checkpoint=dict(every=500),
    )
