"""Held-out likelihood: bits per character of a text, bits per dimension of anything else."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.evals.baselines import gaussian, kneser_ney, unigram
from ssljax.evals.subject import Subject, answers, pick, ratio, readout, split
from ssljax.names import Mistake

NEEDS = ('log_prob',)
BASELINES = (unigram, kneser_ney, gaussian)
SHOWN = ('nats_per_character', 'bits_per_dim')  # what a table shows, where it is there
LESS = ('nats_per_character', 'bits_per_dim')  # of these less is better


def density(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Mean negative log-likelihood of the rows of a split, with a standard error over blocks.

    A text: log_prob is [B, T - 1], of the tokens after the first, and `mask` [B, T] says which
    tokens a row scores; the rows' masks cover each character once, so `size` does not apply.
    Else: log_prob is [B], of the row as the method sees it: bits per dimension of 8-bit pixels are
    those of a method that returns the mass of a pixel's bin.
    """
    return (text if subject.source.vocab else rows)(subject, split, size, options)


def text(subject, name, size, options):
    source, part = subject.source, split(subject.source, name)
    if 'mask' not in part.rows(np.arange(1)):
        raise Mistake(
            f'density needs rows that score each character once; the split {name} of'
            f' {source.name} has no mask: set split=test'
        )
    # one call where possible: an n-gram sees the whole text, and a row is small
    log_prob, batch = answers(
        readout(subject, 'log_prob', 'density'),
        part,
        np.arange(part.count),
        keep=('x', 'mask'),
        chunk=2**15,
        **options,
    )
    mask, x = batch['mask'], batch['x']
    if log_prob.shape != (len(x), x.shape[1] - 1):
        raise Mistake(
            f'density needs log_prob [B, T - 1] of a text; {subject.name} gave'
            f' {list(log_prob.shape)} for tokens {list(x.shape)}'
        )
    if lost := int((mask[:, 0] > 0).sum()):
        raise Mistake(
            f'density: {lost} rows of the split {name} of {source.name} score their first token,'
            ' which no row-wise model can: give each row one token of context'
        )
    mask = mask[:, 1:] > 0
    width = np.array([len(token) for token in source.vocab])[x[:, 1:]]  # characters of a token
    nll = summed(subject, -np.where(mask, log_prob, 0).sum(1))
    tokens, characters = mask.sum(1), np.where(mask, width, 0).sum(1)
    nats, error = ratio(nll, characters)
    return {
        'nats_per_character': nats,
        'bits_per_character': nats / math.log(2),
        'standard_error': error,
        'perplexity': math.exp(min(700, nll.sum() / tokens.sum())),
        'characters': int(characters.sum()),
    }


def rows(subject, name, size, options):
    part = split(subject.source, name)
    index, shape = pick(part.count, size), part.rows(np.arange(1))['x'].shape[1:]
    log_prob, _ = answers(readout(subject, 'log_prob', 'density'), part, index, **options)
    if log_prob.shape != (len(index),):
        raise Mistake(
            f'density needs log_prob [B]; {subject.name} gave {list(log_prob.shape)}'
            f' for x {[len(index), *shape]}'
        )
    nats, error = ratio(summed(subject, -log_prob), np.ones(len(log_prob)))
    return {
        'nats': nats,
        'bits_per_dim': nats / math.prod(shape) / math.log(2),
        'standard_error': error,
        'rows': len(log_prob),
    }


def summed(subject: Subject, nll: np.ndarray) -> np.ndarray:
    if bad := int(np.isnan(nll).sum()):
        raise Mistake(f'density: log_prob of {subject.name} is not a number in {bad} rows')
    return nll.astype(np.float64)
