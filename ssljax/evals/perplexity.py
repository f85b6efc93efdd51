"""Held-out likelihood of a text: nats and bits per character, and perplexity."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.data.source import of_tokens
from ssljax.evals.baselines import kneser_ney, unigram
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.likelihood import negative
from ssljax.evals.measures import ratio
from ssljax.evals.subject import Subject, answers, part_of, readout
from ssljax.kinds import SplitName
from ssljax.names import Mistake


def score(
    subject: Subject, *, split: SplitName = 'test', options: Mapping[str, Any] = {}
) -> Scores:
    """Mean negative log likelihood of the characters of a split, less is better.

    token_log_prob is [B, T - 1], of the tokens after the first; `options` go to it. `mask` [B, T]
    says which tokens a row scores; the rows' masks cover each token of the text once.
    """
    source, part = subject.source, part_of(subject.source, split)
    ask = readout(subject, 'token_log_prob', 'perplexity')
    if not of_tokens(source):
        raise Mistake(
            f'perplexity needs texts; {source.name} has no vocabulary of x:'
            ' leave perplexity out of the evals'
        )
    if 'mask' not in part.rows(np.arange(1)):
        raise Mistake(
            f'perplexity needs rows that score each character once; the split {split} of'
            f' {source.name} has no mask: set split=test'
        )
    # one call where possible: an n-gram sees the whole text, and a row is small
    log_prob, batch = answers(
        ask, part, np.arange(part.count), keep=('x', 'mask'), chunk=2**15, **options
    )
    mask, x = batch['mask'], batch['x']
    if log_prob.shape != (len(x), x.shape[1] - 1):
        raise Mistake(
            f'perplexity needs token_log_prob [B, T - 1] of a text; {subject.name} gave'
            f' {list(log_prob.shape)} for tokens {list(x.shape)}'
        )
    if lost := int((mask[:, 0] > 0).sum()):
        raise Mistake(
            f'perplexity: {lost} rows of the split {split} of {source.name} score their first'
            ' token, which no row-wise model can: give each row one token of context'
        )
    mask = mask[:, 1:] > 0
    width = np.array([len(token) for token in source.vocab])[x[:, 1:]]  # characters of a token
    log_prob = np.where(mask, log_prob, 0).sum(1)
    nats = negative(subject, 'token_log_prob', 'perplexity', log_prob)  # of a row
    tokens, characters = mask.sum(1), np.where(mask, width, 0).sum(1)
    each = ratio(nats, characters)
    return averaged(
        {'nats_per_character': each, 'bits_per_character': each / math.log(2)},
        perplexity=math.exp(min(700, nats.sum() / tokens.sum())),
        characters=int(characters.sum()),
    )


evaluator = Evaluator(
    run=score,
    needs=('token_log_prob',),
    baselines=(unigram, kneser_ney),
    shown={'nats_per_character': Shown('nats per character', less=True, decimals=3)},
    asks=passed_on('token_log_prob'),
    neighbors=True,
)
