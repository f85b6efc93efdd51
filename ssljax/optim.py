"""Optimizers and schedules: from the spec of a turn in the config to an optax transformation.

A schedule runs over the horizon of its turn: the steps at which it acts, until its next restart.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax

from ssljax.depth import from_top
from ssljax.kinds import Decay, Named, Natural, NonNegative, Part, Positive, Regex, Table
from ssljax.method import Method, Tree
from ssljax.names import Mistake, build, choose, options
from ssljax.sharding import path_name

__all__ = ['sgd', 'adam', 'adamw', 'lars', 'lamb', 'muon']

Schedule = Callable[[Any], Any]

# The params that are decayed and, in LARS and LAMB, adapted: kernels and embeddings, by the names
# that linen gives them; not biases, gains, tokens, positions, codebooks.
DECAYED = r'(^|/)(kernel|embedding)$'


def matching(pattern: str) -> Callable[[Tree], Tree]:
    """params -> for each, whether the pattern is found in its path, 'encoder/Dense_0/kernel'."""

    def mask(params: Tree) -> Tree:
        found = jax.tree_util.tree_map_with_path(
            lambda path, p: bool(re.search(pattern, path_name(path))), params
        )
        if pattern != DECAYED and not any(jax.tree.leaves(found)):
            raise Mistake(f'decayed={pattern!r} of an optimizer is in no path; {some(params)}')
        return found

    return mask


def some(params: Tree) -> str:
    paths = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return f'there are {len(paths)}, as {", ".join(paths[:3])}'


def sgd(
    rate: Schedule,
    *,
    momentum: Decay = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 0.0,
    decayed: Regex = DECAYED,
) -> optax.GradientTransformation:
    """Stochastic gradient descent.

    momentum: decay of the sum of gradients.
    nesterov: whether the momentum is Nesterov's.
    weight_decay: the share of a param that is added to its gradient.
    decayed: a regular expression on paths: which params are decayed.
    """
    decay = optax.add_decayed_weights(weight_decay, matching(decayed))
    return optax.chain(decay, optax.sgd(rate, momentum, nesterov))


def adam(
    rate: Schedule, *, b1: Decay = 0.9, b2: Decay = 0.999, eps: Positive = 1e-8
) -> optax.GradientTransformation:
    """Kingma & Ba 2014, arXiv:1412.6980."""
    return optax.adam(rate, b1, b2, eps)


def adamw(
    rate: Schedule,
    *,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 1e-4,
    decayed: Regex = DECAYED,
) -> optax.GradientTransformation:
    """Loshchilov & Hutter 2017, arXiv:1711.05101.

    b1, b2: decay of the averages of gradients and of their squares.
    eps: added to the root of the averaged squares.
    weight_decay: the share of a param that is subtracted, times the rate.
    decayed: a regular expression on paths: which params are decayed.
    """
    return optax.adamw(rate, b1, b2, eps, weight_decay=weight_decay, mask=matching(decayed))


def lars(
    rate: Schedule,
    *,
    momentum: Decay = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegative = 1e-6,
    decayed: Regex = DECAYED,
    trust: Positive = 1e-3,
) -> optax.GradientTransformation:
    """You et al. 2017, arXiv:1708.03888; biases and norms are neither decayed nor adapted.

    momentum: decay of the sum of updates.
    nesterov: whether the momentum is Nesterov's.
    weight_decay: the share of a param that is added to its gradient.
    decayed: a regular expression on paths: which params are decayed and adapted.
    trust: the length of an update over that of its param, before the rate.
    """
    return optax.lars(
        rate,
        weight_decay,
        weight_decay_mask=matching(decayed),
        trust_coefficient=trust,
        trust_ratio_mask=matching(decayed),
        momentum=momentum,
        nesterov=nesterov,
    )


def lamb(
    rate: Schedule,
    *,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: Positive = 1e-6,
    weight_decay: NonNegative = 0.01,
    decayed: Regex = DECAYED,
) -> optax.GradientTransformation:
    """You et al. 2019, arXiv:1904.00962; biases and norms are neither decayed nor adapted.

    optax.lamb would adapt all params.

    b1, b2: decay of the averages of gradients and of their squares.
    eps: added to the root of the averaged squares.
    weight_decay: the share of a param that is added to its update before this is adapted.
    decayed: a regular expression on paths: which params are decayed and adapted.
    """
    return optax.chain(
        optax.scale_by_adam(b1, b2, eps),
        optax.add_decayed_weights(weight_decay, matching(decayed)),
        optax.masked(optax.scale_by_trust_ratio(), matching(decayed)),
        optax.scale_by_learning_rate(rate),
    )


def muon(
    rate: Schedule,
    *,
    beta: Decay = 0.95,
    weight_decay: NonNegative = 0.0,
    decayed: Regex = DECAYED,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
) -> optax.GradientTransformation:
    """Jordan 2024: orthogonal updates of matrices; Adam at the same rate for all other params.

    beta: decay of the momentum of matrices.
    weight_decay: the share of a param that is subtracted, times the rate.
    decayed: a regular expression on paths: which params are decayed;
    the matrices of these get the orthogonal updates.
    b1, b2: of Adam.
    """

    def shapes(params: Tree) -> Tree:
        matrix = optax.contrib.MuonDimensionNumbers()
        chosen = matching(decayed)(params)
        return jax.tree.map(lambda p, m: matrix if m and p.ndim == 2 else None, params, chosen)

    # optax's own decay is not used: it is for the orthogonal updates alone
    direction = optax.contrib.muon(
        1.0, beta=beta, adam_b1=b1, adam_b2=b2, muon_weight_dimension_numbers=shapes
    )
    decay = optax.add_decayed_weights(-weight_decay, matching(decayed))
    return optax.chain(direction, decay, optax.scale_by_schedule(rate))


def schedule(
    horizon: int,
    *,
    learning_rate: NonNegative,
    warmup: Natural = 0,
    shape: Literal['cosine', 'linear', 'constant', 'step', 'rsqrt'] = 'cosine',
    end: NonNegative = 0.0,
    drops: tuple[Part, ...] = (0.6, 0.8),
    factor: Positive = 0.1,
) -> Schedule:
    """Linear warm-up, then `shape` from learning_rate to end * learning_rate at the horizon.

    learning_rate: the greatest, at the end of the warm-up.
    warmup: its number of steps.
    shape: of what follows. step: drops (MoCo, instance discrimination, RotNet). rsqrt: proportional
    to 1 / sqrt(step) (Transformer, T5).
    end: the last rate over the greatest, for cosine and linear.
    drops: when the rate drops, as fractions of the horizon, for step.
    factor: the rate after a drop over that before, for step.
    """
    if not 0 <= warmup < max(horizon, 1):
        raise Mistake(
            f'warmup={warmup} steps do not fit into the {horizon} steps of this turn;'
            f' it must be at least 0 and less than {horizon}'
        )
    rest, first, dropped = horizon - warmup, max(warmup, 1), [d * horizon for d in drops]
    after = {
        'cosine': lambda: optax.cosine_decay_schedule(learning_rate, rest, end),
        'linear': lambda: optax.linear_schedule(learning_rate, end * learning_rate, rest),
        'constant': lambda: optax.constant_schedule(learning_rate),
        'step': lambda: lambda i: learning_rate * factor ** sum(i + warmup >= d for d in dropped),
        'rsqrt': lambda: lambda i: learning_rate * (first / (first + jnp.maximum(i, 0))) ** 0.5,
    }
    after = after[choose(shape, after, 'shape of a schedule')]()
    # the rate of the first step is learning_rate / warmup, not 0
    rise = optax.linear_schedule(learning_rate / first, learning_rate, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup]) if warmup else after


def offered() -> dict[str, Callable]:
    """The optimizers that a config may name, each as a function of all options of a spec."""
    return {name: whole(globals()[name], turn_options) for name in __all__}


def grouped() -> dict[str, Callable]:
    """The same of a group of params: a turn's options that are for all groups are not theirs."""
    return {name: whole(globals()[name], group_options) for name in __all__}


def whole(optimizer: Callable, more: Callable) -> Callable:
    """An optimizer as a function of (horizon, *, every option of a spec).

    It returns the transformation and the schedule of one group of params.
    """

    def build(horizon: int, **spec: Any) -> tuple[optax.GradientTransformation, Schedule]:
        rate = schedule(horizon, **{k: v for k, v in spec.items() if k in options(schedule)})
        of_optimizer = {k: v for k, v in spec.items() if k in options(optimizer)}
        return optimizer(rate, **of_optimizer), rate

    functions = (schedule, more, optimizer)
    fields = [p for f in functions for p in inspect.signature(f).parameters.values()]
    fields = [p for p in fields if p.kind is p.KEYWORD_ONLY]
    horizon = next(iter(inspect.signature(schedule).parameters.values()))
    build.__signature__ = inspect.Signature([horizon, *fields])
    build.__doc__ = '\n\n'.join(map(inspect.getdoc, (optimizer, schedule, more)))
    return build


Groups = Annotated[
    Mapping, Table('optim', 'group', of=Named('optim', 'optimizer', offered='grouped'), grows=True)
]


def turn_options(
    *, clip: Positive | None = None, layer_decay: Positive = 1.0, groups: Groups = {}
) -> None:
    """Options that `make` adds to every optimizer.

    clip: the greatest norm of the turn's gradient; None: no bound.
    layer_decay: the rate of a block over that of the block above it.
    groups: params with an optimizer of their own, by name.
    """


def group_options(*, match: Regex, layer_decay: Positive = 1.0) -> None:
    """Options that `make` adds to the optimizer of a group.

    match: a regular expression on paths within the turn: whose params these are.
    layer_decay: the rate of a block over that of the block above it.
    """


def chain(spec: Mapping[str, Any], horizon: int, match: bool = False):
    """-> transformation and schedule of one group; `make` clips, since that is for all groups."""
    spec = {k: v for k, v in spec.items() if not (match and k == 'match')}
    if 'learning_rate' not in spec and 'name' in spec:
        raise Mistake(f'optimizer {spec["name"]!r} needs a learning_rate')
    return build({n: partial(f, horizon) for n, f in offered().items()}, spec, 'optimizer')


def make(spec: Mapping[str, Any], horizon: int) -> tuple[optax.GradientTransformation, Schedule]:
    """-> the turn's transformation, and the schedule of its main group for the log.

    `groups`: params with an optimizer of their own. In dict(heads=dict(match='head', name='adamw'))
    these are the params in whose path (within the turn, 'encoder/Dense_0/kernel') the regular
    expression `match` is found. A group has the turn's schedule and layer_decay where it does not
    set them.
    """
    main, rate = chain(spec, horizon)
    groups = spec.get('groups') or {}
    shared = {k: spec[k] for k in (*options(schedule), 'layer_decay') if k in spec}
    shared.pop('learning_rate', None)
    groups = {name: {**shared, **group} for name, group in groups.items()}

    def label(path: tuple[Any, ...], _: Any) -> str:
        names = (n for n, g in groups.items() if re.search(g['match'], path_name(path)))
        return next(names, 'main')

    def labels(tree: Tree) -> Tree:
        found = jax.tree_util.tree_map_with_path(label, tree)
        for name, group in groups.items():
            if name not in jax.tree.leaves(found):
                raise Mistake(
                    f'group {name!r} of an optimizer has no params: match={group["match"]!r} is in'
                    f' no path that no group before it has; {some(tree)}'
                )
        return found

    if groups:
        chains = {'main': main}
        for name, group in groups.items():
            if 'match' not in group:
                raise Mistake(f'group {name!r} of an optimizer needs match=REGEX')
            chains[name] = chain(group, horizon, match=True)[0]
        main = optax.partition(chains, labels)
    decays = {name: g.get('layer_decay', 1.0) for name, g in {'main': spec, **groups}.items()}
    if any(decay != 1 for decay in decays.values()):
        # for all groups at once, since depth is counted in the whole net
        main = optax.chain(main, by_depth(lambda path: decays[label(path, None)]))
    clip = spec.get('clip')
    return (optax.chain(optax.clip_by_global_norm(clip), main) if clip else main), rate


def by_depth(decay: Callable[[tuple[Any, ...]], float]) -> optax.GradientTransformation:
    """Multiplies each update, and so its rate, by decay(its path) ** from_top."""

    def init(params: Tree) -> optax.EmptyState:
        from_top(params)  # raises its Mistake here, before anything is written
        return optax.EmptyState()

    def update(updates: Tree, state: Any, params: Tree | None = None) -> tuple[Tree, Any]:
        def scale(path: tuple[Any, ...], u: jax.Array, n: int) -> jax.Array:
            return u * decay(path) ** n

        return jax.tree_util.tree_map_with_path(scale, updates, from_top(updates)), state

    return optax.GradientTransformation(init, update)


def clocks(method: Method, steps: int) -> dict[str, list[int]]:
    """For each turn and each step i <= steps: its acting steps before i, since its last restart."""
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
) -> tuple[dict[str, optax.GradientTransformation], dict[str, Callable[[int], jax.Array]]]:
    """-> for every turn its optimizer, and a function step -> learning rate for the log.

    The rate is an array that nobody waits for: as a float, it would wait for the steps in flight.
    """
    for name in specs:
        choose(name, method.turns, 'turn (in config.optim)')
    for name in method.turns:
        if name not in specs:
            raise Mistake(f'turn {name!r} has no optimizer: set config.optim.{name}')
    clock, optimizers, rates = clocks(method, steps), {}, {}
    for name in method.turns:
        # a count is of the steps before, so the horizon is the last acting step's count plus one
        acting = [clock[name][i] + 1 for i in range(steps) if method.turns[name].when(i)]
        optimizers[name], rate = make(specs[name], max(acting, default=1))
        rate = jax.jit(rate)
        rates[name] = lambda i, rate=rate, clock=clock[name]: rate(clock[i])
    return optimizers, rates
