"""From a turn's spec in the config to an optax chain; schedules run over the turn's horizon."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from ssljax.method import Method, Tree
from ssljax.names import Mistake, choose, nearest, options
from ssljax.sharding import path_name

__all__ = ['sgd', 'adam', 'adamw', 'lars', 'muon']

Schedule = Callable[[Any], Any]


def matrices(params: Tree) -> Tree:
    """What is decayed and, in LARS, adapted: kernels, not biases and not scales of norms."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def sgd(
    rate: Schedule, *, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0
):
    decay = optax.add_decayed_weights(weight_decay, matrices)  # within the gradient, as is custom
    return optax.chain(decay, optax.sgd(rate, momentum, nesterov))


def adam(rate: Schedule, *, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8):
    return optax.adam(rate, b1, b2, eps)


def adamw(
    rate: Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
):
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=matrices)


def lars(
    rate: Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 1e-6,
    trust: float = 1e-3,
):
    """You et al. 2017, arXiv:1708.03888; biases and norms neither decayed nor adapted."""
    return optax.lars(
        rate,
        weight_decay,
        weight_decay_mask=matrices,
        trust_coefficient=trust,
        trust_ratio_mask=matrices,
        momentum=momentum,
        nesterov=nesterov,
    )


def muon(
    rate: Schedule,
    *,
    beta: float = 0.95,
    weight_decay: float = 0.0,
    b1: float = 0.9,
    b2: float = 0.999,
):
    """Jordan 2024: momentum made orthogonal, for matrices; Adam for all else at the same rate."""
    return optax.contrib.muon(rate, beta=beta, weight_decay=weight_decay, adam_b1=b1, adam_b2=b2)


def schedule(
    horizon: int,
    *,
    learning_rate: float,
    warmup: int = 0,
    shape: str = 'cosine',
    end: float = 0.0,
) -> Schedule:
    """Linear warm-up, then `shape` from learning_rate to end * learning_rate at the horizon."""
    if not 0 <= warmup < max(horizon, 1):
        raise Mistake(
            f'warmup={warmup} steps do not fit into the {horizon} steps of this turn;'
            f' it must be at least 0 and less than {horizon}'
        )
    rest = horizon - warmup
    after = {
        'cosine': lambda: optax.cosine_decay_schedule(learning_rate, rest, end),
        'linear': lambda: optax.linear_schedule(learning_rate, end * learning_rate, rest),
        'constant': lambda: optax.constant_schedule(learning_rate),
    }
    after = after[choose(shape, after, 'shape of a schedule')]()
    # the first of `warmup` steps acts: rate * 1 / warmup, not 0
    rise = optax.linear_schedule(learning_rate / max(warmup, 1), learning_rate, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup]) if warmup else after


def known(name: str) -> dict[str, Any]:
    """Every option of the optimizer called `name`, with its default; learning_rate has none."""
    function = getattr(sys.modules[__name__], choose(name, __all__, 'optimizer'))
    offered = {**options(schedule), 'clip': None, 'groups': {}, **options(function)}
    return {k: v for k, v in offered.items() if v is not inspect.Parameter.empty}


def chain(spec: Mapping[str, Any], horizon: int, match: bool = False):
    """-> transformation, schedule of one group; clipping is of the whole turn, so not here."""
    spec = dict(spec)
    name = spec.pop('name', None)
    if name is None:
        raise Mistake(f'an optimizer has no name; offered: {", ".join(__all__)}')
    offered = {'learning_rate': None, **known(name), **({'match': ''} if match else {})}
    for key in spec:
        if key not in offered:
            raise Mistake(
                f'optimizer {name!r} has no option {key!r}{nearest(key, offered)};'
                f' its options: {", ".join(offered)}'
            )
    if 'learning_rate' not in spec:
        raise Mistake(f'optimizer {name!r} needs a learning_rate')
    rate = schedule(horizon, **{k: v for k, v in spec.items() if k in options(schedule)})
    function = getattr(sys.modules[__name__], name)
    return function(rate, **{k: v for k, v in spec.items() if k in options(function)}), rate


def make(spec: Mapping[str, Any], horizon: int) -> tuple[optax.GradientTransformation, Schedule]:
    """-> the turn's transformation and the schedule of its main group, for the log.

    `groups` sends the params whose path (within the turn, 'encoder/Dense_0/kernel') matches a
    regular expression to an optimizer of their own: dict(heads=dict(match='head', name='adamw')).
    Unset schedule options of a group are those of the turn.
    """
    main, rate = chain(spec, horizon)
    groups = spec.get('groups') or {}
    if groups:
        shared = {k: spec[k] for k in ('warmup', 'shape', 'end') if k in spec}
        chains = {'main': main}
        for name, group in groups.items():
            if 'match' not in group:
                raise Mistake(f'group {name!r} of an optimizer needs match=REGEX')
            chains[name] = chain({**shared, **group}, horizon, match=True)[0]

        def label(path: tuple[Any, ...], _: Any) -> str:
            found = (n for n, g in groups.items() if re.search(g['match'], path_name(path)))
            return next(found, 'main')

        main = optax.partition(chains, lambda tree: jax.tree_util.tree_map_with_path(label, tree))
    clip = spec.get('clip')
    return (optax.chain(optax.clip_by_global_norm(clip), main) if clip else main), rate


def clocks(method: Method, steps: int) -> dict[str, list[int]]:
    """For each turn, how many of its steps since its last restart lie before step i, i <= steps."""
    counts = {}
    for name, turn in method.turns.items():
        count, counts[name] = 0, []
        for i in range(steps):
            refresh = method.refresh
            if refresh and name in refresh.restarts and refresh.when(i):
                count = 0
            counts[name].append(count)
            count += bool(turn.when(i))
        counts[name].append(count)
    return counts


def make_all(
    specs: Mapping[str, Any], method: Method, steps: int
) -> tuple[dict[str, optax.GradientTransformation], dict[str, Callable[[int], float]]]:
    """-> optimizer of every turn, and of every turn the learning rate at step i, for the host."""
    for name in specs:
        choose(name, method.turns, 'turn (in config.optim)')
    for name in method.turns:
        if name not in specs:
            raise Mistake(f'turn {name!r} has no optimizer: set config.optim.{name}')
    clock, optimizers, rates = clocks(method, steps), {}, {}
    for name in method.turns:
        # counts before a step, so the horizon is one more than the last acting step's count
        acting = [clock[name][i] + 1 for i in range(steps) if method.turns[name].when(i)]
        optimizers[name], rate = make(specs[name], max(acting, default=1))
        rates[name] = lambda i, rate=rate, clock=clock[name]: float(rate(clock[i]))
    return optimizers, rates
