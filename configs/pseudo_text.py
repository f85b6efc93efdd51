"""A reader of printed words that begins with 1500 transcripts: six minutes on two CPU cores."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        evals=dict(transcription=dict(size=300)),
        judge='transcription.character_error',
        steps=500,
        data=dict(of=dict(train=2000, validation=100, test=400), count=1000),
        model=dict(epochs=4, threshold=0.1),
        optim=dict(net=dict(warmup=20)),
        log=dict(evaluate=0),
    ),
    'smoke': dict(
        steps=6,
        batch=8,
        data=dict(
            of=dict(height=16, width=48, train=48, validation=16, test=16), count=8, share=0.5
        ),
        model=dict(encoder=dict(widths=(4, 8), width=16), epochs=0.3, threshold=0.0, spelled=False),
        optim=dict(net=dict(warmup=1)),
        evals=dict(transcription=dict(size=8)),
        log=dict(every=2, evaluate=0),
    ),
    'supervised': dict(model=dict(epochs=1000)),  # the given texts alone, all the time
    'any_spelling': dict(model=dict(spelled=False)),
    'any_chance': dict(model=dict(threshold=0.0)),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='pseudo_text',
        steps=3000,
        batch=32,
        data=dict(
            name='few_texts',
            of=dict(name='lines', words=1, width=128, train=10_000),
            count=1500,
            share=0.4,
            keep=('true_text',),
        ),
        model=dict(
            encoder=dict(name='line_lstm', widths=(16, 32, 64), width=96, dropout=0.2),
            epochs=2,  # a round of 884 steps
            threshold=0.3,
        ),
        optim=dict(net=dict(name='adamw', learning_rate=3e-3, weight_decay=1e-4, warmup=50)),
        evals=dict(transcription=dict()),
        log=dict(
            every=50, evaluate=500, curve=dict(transcription=dict(split='validation', shown=0))
        ),
        checkpoint=dict(every=500),
    )
