"""Losses of whole texts, of replaced words, and of words that occur together.

>>> print(sentence_pair(jnp.zeros((1, 2)), jnp.array([1])))  # log 2
[0.6931472]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import softplus

from ssljax.losses._rows import like, nats, on, precise
from ssljax.losses._shapes import ArrayLike, arrays


def replaced_token(
    logits: ArrayLike,
    tokens: ArrayLike,
    corrupted: ArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> jax.Array:
    """Cross entropy of a critic that says of every token whether it is the text's own.

    Clark et al. 2020, arXiv:2003.10555, section 2: with D = sigmoid(logits) that a token is real,
        l(t) = -log D(t) where corrupted[t] = tokens[t], else -log(1 - D(t)).
    logits [B, T]; tokens of the text, and what the critic reads in their place, int [B, T]
    -> [B, T]. A generator's draw that is right by chance is real, as in the paper. There the mean
    of this has weight 50 beside `masked_token` of the generator.

    mask: bool [B, T], which tokens are scored; None: all. Elsewhere the loss is zero.

    >>> print(replaced_token([[0.0]], [[3]], [[4]]))  # log 2
    [[0.6931472]]
    """
    logits, tokens, corrupted, mask = arrays(
        'B T', logits=logits, tokens=tokens, corrupted=corrupted, mask=mask
    )
    logits = on(mask, precise(logits))  # what is not scored may be anything
    return on(mask, softplus(jnp.where(tokens == corrupted, -logits, logits)))


def sentence_pair(logits: ArrayLike, follows: ArrayLike) -> jax.Array:
    """Cross entropy of whether the second of two texts is what follows the first.

    Devlin et al. 2018, arXiv:1810.04805, section 3.1 (next sentence: the other half of the pairs
    has a second text from anywhere); Lan et al. 2019, arXiv:1909.11942, section 3.1 (sentence
    order: the other half has its two texts exchanged):
        l = -log softmax(logits)[follows].
    logits [B, 2], follows, bool or int [B], 1 where it does -> [B].

    >>> print(sentence_pair([[0.0, 0.0]], [True]))  # log 2
    [0.6931472]
    """
    logits, follows = arrays('B 2', 'B', logits=logits, follows=follows)
    return nats(logits, follows.astype(jnp.int32))


def glove(
    word: ArrayLike,
    context: ArrayLike,
    word_bias: ArrayLike,
    context_bias: ArrayLike,
    count: ArrayLike,
    *,
    largest: ArrayLike = 100.0,
    power: ArrayLike = 0.75,
) -> jax.Array:
    """Weighted squared error of the log of how often two words occur together.

    Pennington et al. 2014 (EMNLP), eqs. 8 and 9:
        l = f(X) (w . c + b_w + b_c - log X)^2,  f(X) = min(1, X / largest)^power.
    word w, context c [B, D], their biases b [B], count X [B] of pairs of words -> [B]. A pair that
    never occurs has no loss. Counts have no gradient.

    largest: the count from which on pairs weigh the same.
    power: how the weight grows up to there.

    >>> print(f'{glove([[1.0]], [[2.0]], [0.0], [0.0], [100.0])[0]:.4f}')  # (2 - log 100)^2
    6.7869
    """
    word, context, word_bias, context_bias, count = arrays(
        'B D', 'B D', 'B', 'B', 'B',
        word=word, context=context, word_bias=word_bias, context_bias=context_bias, count=count,
    )  # fmt: skip
    count = lax.stop_gradient(precise(count))
    occurs = count > 0
    some = jnp.where(occurs, count, 1)
    weight = jnp.where(occurs, jnp.minimum(1, some / like(largest, some)) ** like(power, some), 0)
    product = (precise(word) * precise(context)).sum(-1)
    return weight * jnp.square(product + precise(word_bias) + precise(context_bias) - jnp.log(some))
