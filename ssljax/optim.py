"""From a turn's spec in the config to an optax chain; schedules run over the turn's horizon."""

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax.method import Method, Tree
from ssljax.names import Mistake, choose, nearest, options
from ssljax.sharding import path_name

__all__ = ['sgd', 'adam', 'adamw', 'lars', 'lamb', 'muon']

Schedule = Callable[[Any], Any]

# words of paths, after the name of the net
VECTORS = re.compile(r'(bias|scale|gain)$')  # of two axes in scanned blocks, [depth, D]
TOKENS = re.compile(r'(token|register)s?$')  # class, mask, register: [1, 1, D]
PLACES = re.compile(r'(^|[_/])(places?|pos|positions?|positional)($|[_/])')  # tables [N, D]
STEMS = re.compile(r'(^|[_/])(embed|patch|stem)')
BLOCKS = re.compile(r'(?:block|layer|stage)s?_?(\d+)(?:/|$)', re.IGNORECASE)


def inside(path: tuple[Any, ...]) -> str:
    """'Dense_0/kernel' of params of a net, ('encoder', 'Dense_0', 'kernel')."""
    return path_name(path[1:] or path)


def matrices(params: Tree) -> Tree:
    """What is decayed and, in LARS and LAMB, adapted: kernels, embeddings of a vocabulary.

    Biases, gains, tokens and positions are not, and are known by the words of their paths as well:
    by its axes alone, a class token [1, 1, D] or a table of positions would be decayed.
    """

    def decayed(path: tuple[Any, ...], p: Any) -> bool:
        words = inside(path)
        return p.ndim > 1 and not any(kind.search(words) for kind in (VECTORS, TOKENS, PLACES))

    return jax.tree_util.tree_map_with_path(decayed, params)


def from_top(params: Tree) -> Tree:
    """For each param, how many blocks of its net lie above it, itself included.

    Block i of `depth` has depth - i; embeddings, stems, tokens and positions, which come before
    the first, depth + 1; all else (final norms, heads, nets without blocks) 0. With the rate times
    layer_decay ** from_top, this is the rule of Bao et al. 2021, arXiv:2106.08254, and of MAE.
    Blocks are known by their names, 'blocks_3', 'Block_3', 'ResidualBlock_2', 'layer3': the
    outermost.
    """
    depth: dict[str, int] = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        if found := BLOCKS.search(path_name(path[1:])):
            net = path_name(path[:1])
            depth[net] = max(depth.get(net, 0), int(found[1]) + 1)
    if not depth:
        raise Mistake(
            'layer_decay finds no numbered blocks, as blocks_3 or Block_3, in the params of this'
            ' turn; type layer_decay=1.0'
        )

    def count(path: tuple[Any, ...], _: Any) -> int:
        words, blocks = path_name(path[1:]), depth.get(path_name(path[:1]), 0)
        if found := BLOCKS.search(words):
            return blocks - int(found[1])
        first = blocks and any(kind.search(words) for kind in (TOKENS, PLACES, STEMS))
        return blocks + 1 if first else 0

    return jax.tree_util.tree_map_with_path(count, params)


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


def lamb(
    rate: Schedule,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-6,
    weight_decay: float = 0.01,
):
    """You et al. 2019, arXiv:1904.00962; biases and norms neither decayed nor adapted.

    optax.lamb would adapt all.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, matrices),
        optax.masked(optax.scale_by_trust_ratio(), matrices),
        optax.scale_by_learning_rate(rate),
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

    def shapes(params: Tree) -> Tree:
        matrix = optax.contrib.MuonDimensionNumbers()
        chosen = matrices(params)
        return jax.tree.map(lambda p, m: matrix if m and p.ndim == 2 else None, params, chosen)

    # without optax's own decay, which is of the orthogonal ones alone
    direction = optax.contrib.muon(
        1.0, beta=beta, adam_b1=b1, adam_b2=b2, muon_weight_dimension_numbers=shapes
    )
    decay = optax.add_decayed_weights(-weight_decay, matrices)
    return optax.chain(direction, decay, optax.scale_by_schedule(rate))


def schedule(
    horizon: int,
    *,
    learning_rate: float,
    warmup: int = 0,
    shape: str = 'cosine',
    end: float = 0.0,
    drops: Sequence[float] = (0.6, 0.8),
    factor: float = 0.1,
) -> Schedule:
    """Linear warm-up, then `shape` from learning_rate to end * learning_rate at the horizon.

    step: times `factor` at each of `drops`, fractions of the horizon (MoCo, instance
    discrimination, RotNet). rsqrt: as 1 / sqrt(step), from the warm-up on (Transformer, T5).
    """
    if not 0 <= warmup < max(horizon, 1):
        raise Mistake(
            f'warmup={warmup} steps do not fit into the {horizon} steps of this turn;'
            f' it must be at least 0 and less than {horizon}'
        )
    rest, early, at = horizon - warmup, max(warmup, 1), [d * horizon for d in drops]
    after = {
        'cosine': lambda: optax.cosine_decay_schedule(learning_rate, rest, end),
        'linear': lambda: optax.linear_schedule(learning_rate, end * learning_rate, rest),
        'constant': lambda: optax.constant_schedule(learning_rate),
        'step': lambda: lambda i: learning_rate * factor ** sum(i + warmup >= d for d in at),
        'rsqrt': lambda: lambda i: learning_rate * (early / (early + jnp.maximum(i, 0))) ** 0.5,
    }
    after = after[choose(shape, after, 'shape of a schedule')]()
    # the first of `warmup` steps acts: rate * 1 / warmup, not 0
    rise = optax.linear_schedule(learning_rate / early, learning_rate, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup]) if warmup else after


def known(name: str) -> dict[str, Any]:
    """Every option of the optimizer called `name`, with its default; learning_rate has none."""
    function = getattr(sys.modules[__name__], choose(name, __all__, 'optimizer'))
    shared = {'clip': None, 'layer_decay': 1.0, 'groups': {}}
    offered = {**options(schedule), **shared, **options(function)}
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
    Unset options of a group's schedule, and its layer_decay, are those of the turn.
    """
    main, rate = chain(spec, horizon)
    groups = spec.get('groups') or {}
    shared = {k: spec[k] for k in (*options(schedule), 'layer_decay') if k in spec}
    shared.pop('learning_rate', None)
    groups = {name: {**shared, **group} for name, group in groups.items()}

    def label(path: tuple[Any, ...], _: Any) -> str:
        found = (n for n, g in groups.items() if re.search(g['match'], path_name(path)))
        return next(found, 'main')

    if groups:
        chains = {'main': main}
        for name, group in groups.items():
            if 'match' not in group:
                raise Mistake(f'group {name!r} of an optimizer needs match=REGEX')
            chains[name] = chain(group, horizon, match=True)[0]
        main = optax.partition(chains, lambda tree: jax.tree_util.tree_map_with_path(label, tree))
    decays = {name: g.get('layer_decay', 1.0) for name, g in {'main': spec, **groups}.items()}
    if any(decay != 1 for decay in decays.values()):
        # over all groups, since the depth is that of the whole net
        main = optax.chain(main, by_depth(lambda path: decays[label(path, None)]))
    clip = spec.get('clip')
    return (optax.chain(optax.clip_by_global_norm(clip), main) if clip else main), rate


def by_depth(decay: Callable[[tuple[Any, ...]], float]) -> optax.GradientTransformation:
    """Each update, so each rate, times decay(its path) ** from_top."""

    def init(params: Tree) -> optax.EmptyState:
        from_top(params)  # refuses here, before anything is written
        return optax.EmptyState()

    def update(updates: Tree, state: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        def scale(path: tuple[Any, ...], u: jax.Array, n: int) -> jax.Array:
            return u * decay(path) ** n

        return jax.tree_util.tree_map_with_path(scale, updates, from_top(updates)), state

    return optax.GradientTransformation(init, update)


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
