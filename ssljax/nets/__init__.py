"""Nets by name: Nets(encoder=dict(name='conv')) is a set of nets that are called like functions.

A net that a config may name is a function in a file of this folder whose annotation says that it
returns a linen module.
"""

from ssljax.nets.chunks import in_chunks as in_chunks
from ssljax.nets.named import Nets as Nets
from ssljax.nets.named import make as make
from ssljax.nets.named import offered as offered
