"""From a config to all that a run is made of: data, method, optimizers, places."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax import augment, config, data, evals, form, methods, nets, optim, sharding, sweep
from ssljax.checkpoint import graft
from ssljax.data.batches import order
from ssljax.method import Method, Run, State
from ssljax.names import Mistake, choose, nearest, options
from ssljax.step import floats, make_step, select

INIT, STEP, REFRESH, EVAL = range(4)  # what the keys of a run are for


class Job(NamedTuple):
    """A run, ready to start; nothing has been computed and nothing written."""

    config: dict[str, Any]
    source: Any
    method: Method
    optimizers: Mapping[str, Any]
    rates: Mapping[str, Callable[[int], float]]  # learning rate of a turn at step i
    mesh: jax.sharding.Mesh
    shapes: State  # of ShapeDtypeStructs that know their places
    start: Callable[[jax.Array, Any], State]

    def key(self, purpose: int) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.config['seed']), purpose)

    def acting(self, i: int) -> tuple[str, ...]:
        return tuple(name for name, turn in self.method.turns.items() if turn.when(i))

    def step(self) -> Callable[..., tuple[State, dict]]:
        places = jax.tree.map(lambda s: s.sharding, self.shapes)
        return make_step(self.method, self.optimizers, places, accumulate=self.config['accumulate'])

    def batch(self) -> dict[str, jax.Array]:
        """Batch 0, on the devices."""
        index = order(self.config['seed'], 0, self.config['batch'], self.train.count)
        rows = {**self.train.rows(index), 'index': index.astype(np.int32)}
        return sharding.place(self.mesh, rows)

    def place(self, rows: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's rows of a batch, as global arrays."""
        cut = sharding.of_batch(self.mesh)
        return {k: jax.make_array_from_process_local_data(cut, v) for k, v in rows.items()}

    @property
    def train(self) -> Any:
        return self.source.splits['train']

    def sweep(self, split: str = 'train', purpose: int = EVAL) -> sweep.Sweep:
        return sweep.Sweep(self.mesh, self.key(purpose), self.source.splits[split])

    def fresh(self) -> State:
        """The state at step 0, grafts filled in."""
        state = self.start(self.key(INIT), self.batch())
        if self.config['graft'] or self.method.needs:
            state = graft(state, self.config['graft'], self.method.needs)
            # made after the graft: some optimizers keep copies of the params
            opt = jax.jit(lambda params: begin(self.method, self.optimizers, params))(state.params)
            state = self.placed(state.replace(opt=opt))
        return state

    def placed(self, state: State) -> State:
        """A state of the same form, back in its places."""
        state = form.same(self.shapes, form.strong(state))
        return jax.device_put(state, jax.tree.map(lambda s: s.sharding, self.shapes))


def begin(method: Method, optimizers: Mapping[str, Any], params: dict) -> dict[str, Any]:
    return {n: optimizers[n].init(select(params, t.moves)) for n, t in method.turns.items()}


def function(name: str) -> Callable:
    """The method called `name`."""
    offered = [m.name for m in pkgutil.iter_modules(methods.__path__)]
    choose(name, offered, 'method')
    return getattr(importlib.import_module(f'ssljax.methods.{name}'), name)


def resolve(argument: str, overrides: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """The whole config of a run: the file, the command line over it, defaults spelled out.

    Names go first, since they say which options there are: the method's, then those of specs; and
    those of the evaluators are written out before the command line sets them.
    """
    settings = config.read(argument)
    options_set = [k.removeprefix('evals.') for k, _ in overrides if k.startswith('evals.')]
    settings['evals'] = asked(settings['evals'], options_set)
    rank = [k != 'method' and 1 + (not k.endswith('.name')) for k, _ in overrides]
    for level, fill in enumerate((spell_model, spell_evaluators, spell_rest)):
        for dotted, text in (o for o, r in zip(overrides, rank, strict=True) if r == level):
            config.override(settings, dotted, text)
            if level < 2:
                forget(settings, dotted)
        settings = fill(settings)
    config.check(settings)
    return settings


def forget(settings: dict[str, Any], dotted: str) -> None:
    """After a name was changed: drops the options that the new one does not have."""
    *parents, _ = dotted.split('.')
    block: Any = settings
    for key in parents:
        block = block[key]
    if dotted == 'method':
        known = options(function(settings['method']))
        settings['model'] = {k: v for k, v in settings['model'].items() if k in known}
        return
    name = str(block['name']).partition(':')[0]
    for module in {'data': (data,), 'optim': (optim,)}.get(parents[0], (nets, augment)):
        if name in module.__all__:
            known = optim.known(name) if module is optim else options(getattr(module, name))
            for key in set(block) - set(known) - {'name', 'learning_rate'}:
                del block[key]


def defaults(function: Callable) -> dict[str, Any]:
    given = {k: v for k, v in options(function).items() if v is not inspect.Parameter.empty}
    return config.plain(given)


def spell_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the method's keywords written out."""
    method = function(settings['method'])
    for key in settings['model']:
        if key not in (known := options(method)):
            raise Mistake(
                f'method {settings["method"]!r} has no keyword {key!r}{nearest(key, known)};'
                f' its keywords: {", ".join(known)}'
            )
    return {**settings, 'model': config.merge(defaults(method), settings['model'])}


def spell_evaluators(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the options of the evaluators, at the end and on the way, written out, and the model."""
    log = {**settings['log'], 'curve': spell_evals(settings['log']['curve'])}
    return {**spell_model(settings), 'evals': spell_evals(settings['evals']), 'log': log}


def spell_rest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """With the options of the source and the optimizers written out too."""
    optimizers = {
        turn: {**optim.known(spec.get('name', '')), **spec}
        for turn, spec in settings['optim'].items()
    }
    name = str(settings['data'].get('name', '')).partition(':')[0]
    source = defaults(getattr(data, choose(name, data.__all__, 'data'))) | settings['data']
    return {**spell_evaluators(settings), 'data': source, 'optim': optimizers}


def asked(chosen: Mapping[str, Any], dotted: Sequence[str]) -> dict[str, Any]:
    """The evaluators, and those that an option of theirs, 'knn.k', asks for, written out."""
    named = [name for name, _, option in (d.partition('.') for d in dotted) if option]
    return {**chosen, **spell_evals({n: chosen.get(n, {}) for n in named if n in evals.__all__})}


def spell_evals(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluators with their options written out."""
    spelled = {}
    for name, given in chosen.items():
        known = defaults(getattr(evals, choose(name, evals.__all__, 'evaluator')))
        for key in set(given) - set(known):
            raise Mistake(
                f'evaluator {name!r} has no option {key!r}{nearest(key, known)};'
                f' its options: {", ".join(known)}'
            )
        spelled[name] = config.merge(known, given)
    return spelled


def assemble(settings: Mapping[str, Any], devices: Sequence[Any] | None = None) -> Job:
    """Builds the job, or says what in the config cannot be built."""
    axes = {k: v for k, v in settings['mesh'].items() if k != 'big'}
    mesh = sharding.mesh(**axes, devices=devices)
    config.divides(settings['batch'], settings['accumulate'], sharding.of_batch(mesh).num_devices)
    source = data.make(settings['data'])
    train, steps = source.splits['train'], settings['steps']
    if train.count < settings['batch']:
        raise Mistake(
            f'batch {settings["batch"]} is more than the {train.count} training rows of'
            f' {source.name}; type --config.batch={train.count} or less'
        )
    run = Run(
        steps=steps,
        steps_per_epoch=train.count // settings['batch'],
        examples=train.count,
        batch=settings['batch'],
        classes=source.classes,
        vocab=len(source.vocab),
        dtype=jax.numpy.dtype(settings['dtype']),
    )
    make = function(settings['method'])
    for key, kind in inspect.get_annotations(make).items():
        # a default of None tells the command line no type
        value = settings['model'].get(key)
        if kind == int | None and not (value is None or (type(value) is int and value > 0)):
            raise Mistake(f'model.{key}={value!r} is no whole number above zero; or type none')
    method = make(run, **settings['model'])
    for name in settings['evals']:
        if reason := evals.explain(name, method.readouts):
            raise Mistake(reason)
    method = sharding.method_by_rows(method, mesh)
    optimizers, rates = optim.make_all(settings['optim'], method, steps)

    def start(key, batch):
        params, memory = method.init(key, floats(batch))
        opt = begin(method, optimizers, params)
        step = jax.numpy.zeros((), jax.numpy.int32)
        return form.strong(State(step, params, memory, opt))

    index = np.zeros(settings['batch'], np.int32)
    rows = {**train.rows(index[:1]), 'index': index[:1]}
    like = {k: jax.ShapeDtypeStruct((len(index), *v.shape[1:]), v.dtype) for k, v in rows.items()}
    shapes = jax.eval_shape(start, jax.random.key(0), like)
    places = sharding.places(shapes, mesh, big=settings['mesh']['big'])
    shapes = jax.tree.map(
        lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, places
    )
    # placed as the step places its output, or the step would compile twice
    start = jax.jit(start, out_shardings=places)
    return Job(dict(settings), source, method, optimizers, rates, mesh, shapes, start)
