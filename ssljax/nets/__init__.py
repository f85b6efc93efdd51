"""Nets by name: Nets(encoder=dict(name='conv')) is a named set, called like functions."""

from ssljax.nets.chunks import in_chunks as in_chunks
from ssljax.nets.conv import conv
from ssljax.nets.dcgan import dcgan_critic, dcgan_generator
from ssljax.nets.heads import prototypes
from ssljax.nets.mlp import mlp
from ssljax.nets.named import Nets as Nets
from ssljax.nets.named import make as make
from ssljax.nets.resnet import resnet18, resnet34, resnet50
from ssljax.nets.transformer import gpt2, transformer
from ssljax.nets.vit import vit, vit_base, vit_decoder, vit_small, vit_tiny

__all__ = [
    'conv',
    'dcgan_critic',
    'dcgan_generator',
    'gpt2',
    'mlp',
    'prototypes',
    'resnet18',
    'resnet34',
    'resnet50',
    'transformer',
    'vit',
    'vit_base',
    'vit_decoder',
    'vit_small',
    'vit_tiny',
]
