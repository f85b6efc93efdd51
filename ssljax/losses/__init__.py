"""Losses: functions of arrays that need jax alone."""

from ssljax.losses.adversarial import (
    gradient_penalty,
    wasserstein_critic,
    wasserstein_generator,
)
from ssljax.losses.clustering import deepcluster
from ssljax.losses.contrastive import info_nce, nt_xent
from ssljax.losses.distillation import dino
from ssljax.losses.reconstruction import mae
from ssljax.losses.sequence import next_token

__all__ = [
    'deepcluster',
    'dino',
    'gradient_penalty',
    'info_nce',
    'mae',
    'next_token',
    'nt_xent',
    'wasserstein_critic',
    'wasserstein_generator',
]
