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
from ssljax.losses.banks import (
    instance_discrimination,
    instance_log_normalizer,
    instance_nce,
    moco_v3,
    nnclr,
    ressl,
)
from ssljax.losses.clustering import (
    assignment,
    deepcluster,
    deepcluster_v2,
    mixture_likelihood,
    nat,
    responsibilities,
    self_labelling,
    sinkhorn,
    swav,
)
from ssljax.losses.contrastive import (
    clip,
    decoupled,
    decoupled_weighted,
    info_nce,
    margin_pair,
    moco,
    nt_xent,
    siglip,
    sup_con,
    triplet,
)
from ssljax.losses.distillation import (
    bag_of_words,
    cosine_regression,
    deit_hard,
    deit_soft,
    dino,
    dino_center,
    dino_temperature,
    knowledge_distillation,
    msn,
    obow,
    sinkhorn_center,
)
from ssljax.losses.energy import denoising_score_matching, free_energy_difference
from ssljax.losses.latents import data2vec, gram_anchoring, ibot, jepa
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
from ssljax.losses.metric import batch_hard_triplet, n_pair, semi_hard_triplet
from ssljax.losses.places import cpc, patch_nce, point_info_nce
from ssljax.losses.reconstruction import mae, simmim
from ssljax.losses.redundancy import (
    barlow_twins,
    koleo,
    mcr2,
    sigreg,
    total_coding_rate,
    vicreg,
    vicregl,
    w_mse,
    whiten,
)
from ssljax.losses.semi import cross_entropy, entropy, fixmatch, pseudo_label
from ssljax.losses.sequence import ctc, ctc_positions, ctc_posteriors, masked_token, next_token
from ssljax.losses.words import cbow, skip_gram

__all__ = [
    'assignment', 'bag_of_words', 'barlow_twins', 'batch_hard_triplet', 'bernoulli', 'bits_per_dim',
    'categorical', 'cbow', 'change_of_variables', 'clip', 'cosine_regression', 'cpc',
    'cross_entropy', 'ctc', 'ctc_positions', 'ctc_posteriors', 'cycle', 'data2vec', 'decoupled',
    'decoupled_weighted', 'deepcluster', 'deepcluster_v2', 'deit_hard', 'deit_soft',
    'denoising_score_matching', 'dequantize', 'dino', 'dino_center', 'dino_temperature', 'elbo',
    'entropy', 'fixmatch', 'free_energy_difference', 'gaussian', 'gradient_penalty',
    'gram_anchoring', 'gumbel_softmax', 'hinge_critic', 'ibot', 'info_nce',
    'instance_discrimination', 'instance_log_normalizer', 'instance_nce', 'iwae', 'jepa',
    'kl_bernoulli', 'kl_categorical', 'kl_gaussian', 'knowledge_distillation', 'koleo',
    'least_squares_critic', 'least_squares_generator', 'logistic_mixture', 'mae', 'margin_pair',
    'masked_token', 'mcr2', 'minimax_critic', 'minimax_generator', 'mixture_likelihood', 'moco',
    'moco_v3', 'msn', 'n_pair', 'nat', 'next_token', 'nnclr', 'non_saturating_generator', 'nt_xent',
    'obow', 'patch_nce', 'point_info_nce', 'pseudo_label', 'r1', 'responsibilities', 'ressl',
    'self_labelling', 'semi_hard_triplet', 'siglip', 'sigreg', 'simmim', 'sinkhorn',
    'sinkhorn_center', 'skip_gram', 'sup_con', 'swav', 'total_coding_rate', 'triplet', 'vicreg',
    'vicregl', 'vq', 'w_mse', 'wasserstein_critic', 'wasserstein_generator', 'whiten',
]  # fmt: skip
