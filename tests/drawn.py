"""Variables of nets without their init, which compiles a program for each random draw."""

from typing import Any

import jax
import numpy as np


def variables(module: Any, *args: Any, scale: float = 0.3, seed: int = 0, **options: Any) -> Any:
    """Those of module.init(key, *args, **options) by shape, drawn by NumPy.

    scale: the deviation. Gains and variances are around one, all else around zero, so that no gain
    is one, no bias zero and no two params alike.
    """
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **options))
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        noise = scale * random.normal(size=leaf.shape)
        return np.float32(np.abs(1 + noise) if path[-1].key in ('scale', 'var') else noise)

    return jax.tree_util.tree_map_with_path(draw, shapes)
