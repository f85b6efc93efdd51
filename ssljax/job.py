"""A job: a model with data and optimizers. From a config to all that a run is made of, once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax

from ssljax import data, evals, form, model, optim, resolve, sharding, sweep
from ssljax.checkpoint import graft
from ssljax.data.batches import Batches
from ssljax.evals import layer
from ssljax.method import Method, Run, State
from ssljax.model import EVAL, INIT, Model
from ssljax.names import Mistake, around, in_one_line
from ssljax.step import floats, make_step, select


class Job(NamedTuple):
    """A run, ready to start; nothing has been computed and nothing written."""

    config: dict[str, Any]  # resolved: to be printed, written and compared
    model: Model
    source: Any
    optimizers: Mapping[str, Any]
    rates: Mapping[str, Callable[[int], jax.Array]]  # learning rate of a turn at step i
    shapes: State  # of ShapeDtypeStructs that know their places
    start: Callable[[jax.Array, Any], State]  # (key, batch) -> the state at step 0
    compiled: Callable[..., tuple[State, dict]]  # the train step, as `step` gives it
    accumulate: int  # micro-batches of a step
    grafts: Mapping[str, str]
    evals: Mapping[str, Mapping[str, Any]]  # evaluators at the end, with their options

    @property
    def method(self) -> Method:
        return self.model.method

    @property
    def run(self) -> Run:
        return self.model.run

    @property
    def mesh(self) -> jax.sharding.Mesh:
        return self.model.mesh

    @property
    def train(self) -> Any:
        return self.source.splits['train']

    def key(self, purpose: int) -> jax.Array:
        return self.model.key(purpose)

    def acting(self, i: int) -> tuple[str, ...]:
        return tuple(name for name, turn in self.method.turns.items() if turn.when(i))

    def acting_sets(self) -> list[tuple[str, ...]]:
        """The sets of turns that act together at some step of the run, in order of the first."""
        return list(dict.fromkeys(self.acting(i) for i in range(self.run.steps)))

    def step(self) -> Callable[..., tuple[State, dict]]:
        """(state, batch, key, acting) -> state, metrics: one function, so traced once."""
        return self.compiled

    def batches(self, start: int = 0, stop: int | None = None) -> Batches:
        """Batches on the devices; each process makes its own rows of them."""
        count = self.run.batch
        return Batches(
            self.train,
            seed=self.model.seed,
            batch=count,
            start=start,
            stop=self.run.steps if stop is None else stop,
            mine=sharding.held_here(self.mesh, count),
            place=lambda rows: sharding.place_mine(self.mesh, rows, count),
        )

    def sweep(self, split: str = 'train', purpose: int = EVAL) -> sweep.Sweep:
        return sweep.Sweep(self.mesh, self.key(purpose), self.source.splits[split])

    def fresh(self) -> State:
        """The state at step 0, grafts filled in."""
        with self.batches(stop=1) as batches:
            _, batch = next(batches)
        state = self.start(self.key(INIT), batch)
        if self.grafts or self.method.needs:
            state = graft(state, self.grafts, self.method.needs)
            # made after the graft: some optimizers keep copies of the params
            opt = jax.jit(lambda params: begin(self.method, self.optimizers, params))(state.params)
            state = self.placed(state.replace(opt=opt))
        return state

    def placed(self, state: State) -> State:
        """A state of the same form, back in its places."""
        state = form.same(self.shapes, state, 'the state')
        return jax.device_put(state, jax.tree.map(lambda s: s.sharding, self.shapes))

    def untrained(self, steps: int = 50) -> Model:
        """The model at step 0, its running statistics those of its data, as a trained one's are."""
        state = self.fresh()
        with self.batches(stop=steps) as batches:
            return self.model.at(settled(self.method, self.key(INIT), state, batches))


def settled(method: Method, key: jax.Array, state: State, batches: Any) -> State:
    """The state whose running statistics have followed the batches, and nothing else has.

    Running statistics are what linen keeps in the collection batch_stats, wherever in memory.
    """

    def statistics(path: tuple[Any, ...]) -> bool:
        return 'batch_stats' in sharding.path_name(path).split('/')

    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(state.memory)]
    if not any(map(statistics, paths)):
        return state

    @jax.jit
    def look(key, state, batch):
        for turn in method.turns.values():
            _, memory, _ = turn.loss(key, state, model.floats(batch))
            memory = jax.tree_util.tree_map_with_path(
                lambda path, old, new: new if statistics(path) else old, state.memory, memory
            )
            state = state.replace(memory=memory)
        return state

    for i, batch in batches:
        state = look(jax.random.fold_in(key, i), state, batch)
    return state


def begin(method: Method, optimizers: Mapping[str, Any], params: dict) -> dict[str, Any]:
    return {n: optimizers[n].init(select(params, t.moves)) for n, t in method.turns.items()}


def make(settings: Mapping[str, Any], devices: Sequence[Any] | None = None) -> Job:
    """Builds the job of a resolved config, or says what in it cannot be built."""
    axes = {k: v for k, v in settings['mesh'].items() if k != 'big'}
    mesh = sharding.mesh(**axes, devices=devices)
    divides(settings['batch'], settings['accumulate'], sharding.parts(mesh))
    source = data.make(settings['data'])
    with in_one_line(f'data {source.name} cannot be read'):
        run = facts(settings, source)
    with in_one_line(f'method {settings["method"]!r} cannot be made'):
        mine = model.build(settings, run, mesh)
    for name in settings['evals']:
        if reason := evals.explain(name, mine.readouts):
            raise Mistake(reason)
    optimizers, rates = optim.make_all(settings['optim'], mine.method, settings['steps'])

    def whole(key, batch):
        state = model.begun(mine, key, batch)
        return state.replace(opt=begin(mine.method, optimizers, state.params))

    with in_one_line('a state cannot be made for this data'):
        shapes = jax.eval_shape(whole, mine.key(INIT), model.batch_shapes(mine.run))
    places = sharding.places(shapes, mesh, by_rows=mine.method.by_rows, big=settings['mesh']['big'])
    shapes = sharding.placed(shapes, places)
    # placed as the step places its output, or the step would compile twice
    start = jax.jit(whole, out_shardings=places)
    step = make_step(mine.method, optimizers, places, accumulate=settings['accumulate'])
    return Job(
        dict(settings), mine, source, optimizers, rates, shapes, start, step,
        settings['accumulate'], settings['graft'], settings['evals'],
    )  # fmt: skip


def facts(settings: Mapping[str, Any], source: Any) -> Run:
    """What a method may know of a run on this source."""
    train, batch = source.splits['train'], settings['batch']
    if train.count < batch:
        raise Mistake(
            f'batch {batch} is more than the {train.count} training rows of'
            f' {source.name}; type --config.batch={train.count} or less'
        )
    return Run(
        steps=settings['steps'],
        steps_per_epoch=train.count // batch,
        examples=train.count,
        batch=batch,
        classes=source.classes,
        vocab=len(source.vocab),
        dtype=jax.numpy.dtype(settings['dtype']),
        row=data.shapes(source),
        class_names=source.class_names,
        tokens=source.vocab,
        words=source.words,
    )


def divides(batch: int, accumulate: int, cuts: int) -> None:
    """Each micro-batch is cut evenly over the devices."""
    parts = accumulate * cuts
    if batch % parts:
        what = f'{cuts} devices' + (f' times accumulate={accumulate}' if accumulate > 1 else '')
        raise Mistake(
            f'batch {batch} is not divisible by {what}; nearest that are: {around(batch, parts)}'
        )


def checked(job: Job) -> Job:
    """The job, once its readouts, as evaluators will ask them, and its step were traced.

    Nothing is compiled and no step is run. A readout that cannot run fails here, and not after the
    last step; a loss, here and not at its first turn, which may come late. The step is not traced
    again when it runs: it meets the same shapes in the same places.
    """
    if job.grafts or job.method.needs:
        graft(job.shapes, job.grafts, job.method.needs)
    with in_one_line('a readout cannot run'):
        model.trace(job.model, job.shapes)
    for where, evaluators in {'evals': job.evals, 'log.curve': job.config['log']['curve']}.items():
        for name, options in evaluators.items():
            if not evals.explain(name, job.model.readouts):
                can_ask(job, name, options, f'{where}.{name}')
    shapes = model.batch_shapes(job.run)
    batch = sharding.placed(shapes, dict.fromkeys(shapes, sharding.of_batch(job.mesh)))
    for acting in job.acting_sets():
        with in_one_line(f'the step of {" and ".join(acting) or "no turn"} cannot run'):
            job.step().trace(job.shapes, batch, job.key(model.STEP), acting)
    return job


def can_ask(job: Job, name: str, options: Mapping[str, Any], where: str) -> None:
    """Traces what an evaluator asks the model for, with the options that it has."""
    for readout, asked in evals.offered()[name].asks(options).items():
        resolve.asked(job.model.readouts[readout], asked, readout, f'{where}.options')
        with in_one_line(f'config.{where}: the readout {readout} cannot run'):
            model.trace(job.model, job.shapes, readout, **asked)
    if options.get('layer'):
        inner = partial(layer.inside, encode=job.model.readouts['encode'], layer=options['layer'])
        with in_one_line(f'config.{where}: layer={options["layer"]} cannot be read'):
            batch = jax.eval_shape(floats, model.batch_shapes(job.run))
            jax.eval_shape(inner, job.key(EVAL), job.shapes, batch)
