"""Losses: functions of arrays that need jax alone.

A loss takes arrays and returns one value for each example, or one for the batch where it is defined
on a set of examples. Views are separate arguments, z1 and z2, or an axis, [B, V, D].
"""

from ssljax.losses.adversarial import (
    cycle,
    gradient_penalty,
    hinge_critic,
    least_squares_critic,
    least_squares_generator,
    minimax_critic,
    minimax_generator,
    non_saturating_generator,
    r1,
    wasserstein_critic,
    wasserstein_generator,
)
from ssljax.losses.clustering import deepcluster, sinkhorn, swav
from ssljax.losses.contrastive import (
    clip,
    decoupled,
    info_nce,
    margin_pair,
    moco,
    nt_xent,
    siglip,
    sup_con,
    triplet,
)
from ssljax.losses.distillation import cosine_regression, dino, dino_center, dino_temperature
from ssljax.losses.energy import denoising_score_matching, free_energy_difference
from ssljax.losses.likelihood import (
    bernoulli,
    bits_per_dim,
    categorical,
    change_of_variables,
    dequantize,
    elbo,
    gaussian,
    gumbel_softmax,
    iwae,
    kl_bernoulli,
    kl_categorical,
    kl_gaussian,
    logistic_mixture,
    vq,
)
from ssljax.losses.reconstruction import mae, simmim
from ssljax.losses.redundancy import barlow_twins, koleo, vicreg
from ssljax.losses.semi import cross_entropy, entropy, fixmatch, pseudo_label
from ssljax.losses.sequence import ctc, ctc_positions, ctc_posteriors, masked_token, next_token

__all__ = [
    'barlow_twins', 'bernoulli', 'bits_per_dim', 'categorical', 'change_of_variables', 'clip',
    'cosine_regression', 'cross_entropy', 'ctc', 'ctc_positions', 'ctc_posteriors', 'cycle',
    'decoupled', 'deepcluster', 'denoising_score_matching', 'dequantize', 'dino', 'dino_center',
    'dino_temperature', 'elbo', 'entropy', 'fixmatch', 'free_energy_difference', 'gaussian',
    'gradient_penalty', 'gumbel_softmax', 'hinge_critic', 'info_nce', 'iwae', 'kl_bernoulli',
    'kl_categorical', 'kl_gaussian', 'koleo', 'least_squares_critic', 'least_squares_generator',
    'logistic_mixture', 'mae', 'margin_pair', 'masked_token', 'minimax_critic', 'minimax_generator',
    'moco', 'next_token', 'non_saturating_generator', 'nt_xent', 'pseudo_label', 'r1', 'siglip',
    'simmim', 'sinkhorn', 'sup_con', 'swav', 'triplet', 'vicreg', 'vq', 'wasserstein_critic',
    'wasserstein_generator',
]  # fmt: skip
