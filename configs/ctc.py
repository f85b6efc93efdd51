"""A reader of printed lines: fifteen minutes on two CPU cores."""

from ssljax.config import config

SCANNED = dict(name='scanned_lines', height=24, width=640, validation=40)
VARIANTS = {
    'learn': dict(
        evals=dict(transcription=dict(size=300), alignment=None),
        judge='transcription.character_error',
        steps=400,
        data=dict(width=96, words=1, train=4000, validation=100, test=400),
        model=dict(encoder=dict(dropout=0.0)),
        optim=dict(net=dict(warmup=20)),
    ),
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(width=64, height=16, train=64, validation=16, test=16),
        model=dict(encoder=dict(widths=(4, 8), width=16)),
        optim=dict(net=dict(warmup=1)),
        evals=dict(transcription=dict(size=8), alignment=dict(size=8)),
        log=dict(every=2),
    ),
    'transformer': dict(
        model=dict(encoder=dict(name='line_transformer', width=128, depth=3, dropout=0.1)),
        optim=dict(net=dict(learning_rate=1e-3, warmup=200)),
    ),
    # 700 lines of German books, 140 of them from other books to test on, and printed lines beside
    'scanned': dict(
        steps=1000,
        batch=8,
        data=dict(
            name='joined',
            first=dict(name='lines', height=24, width=640, words=4, train=12_000),
            second=SCANNED,
        ),
        optim=dict(net=dict(learning_rate=2e-3)),
        evals=dict(alignment=None),
        checkpoint=dict(every=200),
    ),
    'scanned_alone': dict(
        steps=1000,
        batch=8,
        data=SCANNED,
        optim=dict(net=dict(learning_rate=2e-3)),
        evals=dict(alignment=None),
        checkpoint=dict(every=200),
    ),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='ctc',
        steps=3600,
        batch=32,
        data=dict(name='lines', keep=('positions',)),
        model=dict(encoder=dict(name='line_lstm', widths=(16, 32, 64), width=128, dropout=0.2)),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=1e-4, warmup=100)),
        evals=dict(transcription=dict(), alignment=dict()),
        checkpoint=dict(every=500),
    )
