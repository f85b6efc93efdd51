"""Losses: functions of arrays that need jax alone.

A loss takes arrays and returns one value for each example, or one for the batch where it is defined
on a set of examples. Views are separate arguments, z1 and z2, or an axis, [B, V, D].
"""

from ssljax.losses.adversarial import (
    cycle,
    feature_matching,
    gradient_penalty,
    hinge_critic,
    infogan,
    infogan_continuous,
    least_squares_critic,
    least_squares_generator,
    minimax_critic,
    minimax_generator,
    non_saturating_generator,
    patch,
    r1,
    relativistic_average_critic,
    relativistic_average_generator,
    relativistic_critic,
    relativistic_generator,
    wasserstein_critic,
    wasserstein_generator,
)
from ssljax.losses.alignment import ctc_language_model
from ssljax.losses.banks import (
    instance_discrimination,
    instance_log_normalizer,
    instance_nce,
    moco_v3,
    nearest_row,
    nnclr,
    ressl,
)
from ssljax.losses.clustering import (
    assignment,
    deepcluster,
    deepcluster_v2,
    nat,
    self_labelling,
    sinkhorn,
    swav,
)
from ssljax.losses.codes import contractive, contractive_sigmoid, sparse_kl, sparse_l1
from ssljax.losses.color import color_classes, color_pointer, color_targets, color_weights, copied
from ssljax.losses.contrastive import (
    clip,
    decoupled,
    decoupled_weighted,
    info_nce,
    moco,
    nt_xent,
    siglip,
    sup_con,
)
from ssljax.losses.diffusion import ddpm, denoised, diffuse, flow_matching, flow_path
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
from ssljax.losses.energy import (
    denoising_score_matching,
    free_energy_difference,
    implicit_score_matching,
    persistent_contrastive_divergence,
    sliced_score_matching,
)
from ssljax.losses.kernels import gaussian_kernel, mmd, quadratic_mutual_information, renyi_entropy
from ssljax.losses.labels import (
    focal,
    forward_corrected,
    soft_cross_entropy,
    symmetric_cross_entropy,
)
from ssljax.losses.latents import data2vec, gram_anchoring, ibot, jepa
from ssljax.losses.likelihood import (
    bernoulli,
    bits_per_dim,
    categorical,
    change_of_variables,
    dequantize,
    elbo,
    free_bits,
    gaussian,
    gumbel_softmax,
    infomax_ica,
    iwae,
    kl_bernoulli,
    kl_categorical,
    kl_gaussian,
    variational_dequantize,
    vq,
)
from ssljax.losses.metric import (
    batch_hard_triplet,
    margin_pair,
    n_pair,
    semi_hard_triplet,
    triplet,
)
from ssljax.losses.mixtures import (
    gaussian_mixture,
    logistic_mixture,
    logistic_mixture_rgb,
    responsibilities,
)
from ssljax.losses.places import cpc, patch_nce, point_info_nce
from ssljax.losses.reconstruction import beit, context_encoder, mae, simmim
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
from ssljax.losses.semi import (
    cross_entropy,
    entropy,
    fixmatch,
    flexmatch,
    flexmatch_thresholds,
    mean_teacher,
    pseudo_label,
    ramp_up,
    sharpen,
    vat,
)
from ssljax.losses.sequence import ctc, ctc_positions, ctc_posteriors, masked_token, next_token
from ssljax.losses.text import glove, replaced_token, sentence_pair
from ssljax.losses.weights import orthogonal_penalty, spectral_norm
from ssljax.losses.words import cbow, skip_gram

__all__ = [
    'assignment', 'bag_of_words', 'barlow_twins', 'batch_hard_triplet', 'beit', 'bernoulli',
    'bits_per_dim', 'categorical', 'cbow', 'change_of_variables', 'clip', 'color_classes',
    'color_pointer', 'color_targets', 'color_weights', 'context_encoder', 'contractive',
    'contractive_sigmoid', 'copied', 'cosine_regression', 'cpc', 'cross_entropy', 'ctc',
    'ctc_language_model', 'ctc_positions', 'ctc_posteriors', 'cycle', 'data2vec', 'ddpm',
    'decoupled', 'decoupled_weighted', 'deepcluster', 'deepcluster_v2', 'deit_hard',
    'deit_soft', 'denoised', 'denoising_score_matching', 'dequantize', 'diffuse', 'dino',
    'dino_center', 'dino_temperature', 'elbo', 'entropy', 'feature_matching', 'fixmatch',
    'flexmatch', 'flexmatch_thresholds', 'flow_matching', 'flow_path', 'focal',
    'forward_corrected', 'free_bits', 'free_energy_difference', 'gaussian', 'gaussian_kernel',
    'gaussian_mixture', 'glove', 'gradient_penalty', 'gram_anchoring', 'gumbel_softmax',
    'hinge_critic', 'ibot', 'implicit_score_matching', 'info_nce', 'infogan',
    'infogan_continuous', 'infomax_ica', 'instance_discrimination', 'instance_log_normalizer',
    'instance_nce', 'iwae', 'jepa', 'kl_bernoulli', 'kl_categorical', 'kl_gaussian',
    'knowledge_distillation', 'koleo', 'least_squares_critic', 'least_squares_generator',
    'logistic_mixture', 'logistic_mixture_rgb', 'mae', 'margin_pair', 'masked_token', 'mcr2',
    'mean_teacher', 'minimax_critic', 'minimax_generator', 'mmd', 'moco',
    'moco_v3', 'msn', 'n_pair', 'nat', 'nearest_row', 'next_token', 'nnclr',
    'non_saturating_generator', 'nt_xent', 'obow', 'orthogonal_penalty', 'patch', 'patch_nce',
    'persistent_contrastive_divergence', 'point_info_nce', 'pseudo_label',
    'quadratic_mutual_information', 'r1', 'ramp_up', 'relativistic_average_critic',
    'relativistic_average_generator', 'relativistic_critic', 'relativistic_generator',
    'renyi_entropy', 'replaced_token', 'responsibilities', 'ressl', 'self_labelling',
    'semi_hard_triplet', 'sentence_pair', 'sharpen', 'siglip', 'sigreg', 'simmim', 'sinkhorn',
    'sinkhorn_center', 'skip_gram', 'sliced_score_matching', 'soft_cross_entropy', 'sparse_kl',
    'sparse_l1', 'spectral_norm', 'sup_con', 'swav', 'symmetric_cross_entropy',
    'total_coding_rate', 'triplet', 'variational_dequantize', 'vat', 'vicreg', 'vicregl', 'vq',
    'w_mse', 'wasserstein_critic', 'wasserstein_generator', 'whiten',
]  # fmt: skip
