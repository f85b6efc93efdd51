"""A character GPT on the English prose that comes with Python."""

from ssljax.config import config

VARIANTS = {
    'learn': dict(
        judge='perplexity.nats_per_character',
        steps=40,
        batch=16,
        data=dict(length=33),
        model=dict(decoder=dict(width=32, depth=2, heads=2)),
        optim=dict(decoder=dict(warmup=5)),
    ),
    'smoke': dict(
        steps=4,
        batch=8,
        data=dict(length=17),
        model=dict(decoder=dict(width=16, depth=1, heads=2)),
        optim=dict(decoder=dict(warmup=1)),
        log=dict(every=2),
        evals=dict(perplexity=dict(), samples=dict(count=8)),
    ),
    'shakespeare': dict(data=dict(name='shakespeare')),
}


def get_config(variant=''):
    return config(
        VARIANTS,
        variant,
        method='gpt',
        steps=1800,
        batch=32,
        data=dict(name='python_text', length=129),
        model=dict(decoder=dict(name='transformer', width=128, depth=4, heads=4, context=128)),
        optim=dict(
            decoder=dict(
                name='muon',
                learning_rate=0.02,
                weight_decay=0.1,
                warmup=50,
                end=0.02,
                groups=dict(
                    ends=dict(
                        match='embed|out/|place',
                        name='adamw',
                        learning_rate=2e-3,
                        b2=0.95,
                        weight_decay=0.01,
                    )
                ),
            )
        ),
        evals=dict(perplexity=dict(), samples=dict(count=16)),
        checkpoint=dict(every=300),
    )
