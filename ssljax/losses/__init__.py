"""Losses: functions of arrays that need jax alone.

Arrays in, arrays out: one value per example, or one for the batch where the loss is of a set. Views
are arguments of their own, z1 and z2, or an axis, [B, V, D].
"""

from ssljax.losses.adversarial import (
    gradient_penalty,
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
from ssljax.losses.reconstruction import mae, simmim
from ssljax.losses.redundancy import barlow_twins, koleo, vicreg
from ssljax.losses.semi import entropy, fixmatch, pseudo_label
from ssljax.losses.sequence import next_token

__all__ = [
    'barlow_twins', 'clip', 'cosine_regression', 'decoupled', 'deepcluster', 'dino', 'dino_center',
    'dino_temperature', 'entropy', 'fixmatch', 'gradient_penalty', 'info_nce', 'koleo', 'mae',
    'margin_pair', 'moco', 'next_token', 'nt_xent', 'pseudo_label', 'siglip', 'simmim', 'sinkhorn',
    'sup_con', 'swav', 'triplet', 'vicreg', 'wasserstein_critic', 'wasserstein_generator',
]  # fmt: skip
