"""A model: a method with the facts of its run and a state. It needs no data and no optimizer."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ssljax import form, methods, readouts, resolve, sharding
from ssljax.method import Method, Run, State
from ssljax.names import Mistake, choose, in_one_line
from ssljax.step import floats
from ssljax.sweep import Sweep

INIT, STEP, REFRESH, EVAL = range(4)  # what the keys of a run are for


class NoReadout(Mistake, AttributeError):
    """So that hasattr(model, 'sample') is an answer."""


@dataclasses.dataclass(frozen=True)
class Model:
    """Every readout of the method is a function here: model.encode(images), model.sample(64)."""

    method: Method
    run: Run
    mesh: Mesh
    seed: int
    state: State | None = None  # its opt may be empty; None: of a run that has not started
    checkpoint: str = ''  # digest of the manifest that the state was read from

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('_'):
            raise AttributeError(name)
        readouts = self.method.readouts
        try:
            return partial(self.ask, readouts[choose(name, readouts, 'readout of this run')])
        except Mistake as mistake:
            raise NoReadout(str(mistake)) from None

    def key(self, purpose: int = EVAL) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.seed), purpose)

    @property
    def readouts(self) -> Mapping[str, Callable]:
        return self.method.readouts

    @property
    def step(self) -> int:
        return int(self.state.step)

    @property
    def sweep(self) -> Sweep:
        if 'kept' not in self.__dict__:  # its compiled programs are kept with it
            object.__setattr__(self, 'kept', Sweep(self.mesh, self.key()))
        return self.__dict__['kept']

    def over(self, readout: Callable, state: State, rows: Mapping[str, Any], **options: Any) -> Any:
        """(readout, state, host rows) -> host arrays, by chunks; rows of another index draw
        other numbers."""
        start = int(rows['index'][0]) if len(rows.get('index', ())) else 0
        return self.sweep.over(readout, state, rows, start=start, **options)

    def place(self, rows: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Host rows -> arrays on the devices, cut by rows."""
        return sharding.place(self.mesh, rows)

    def at(self, state: State, checkpoint: str = '') -> 'Model':
        """The same model in another state; compiled programs are shared."""
        other = dataclasses.replace(self, state=state, checkpoint=checkpoint)
        object.__setattr__(other, 'kept', self.sweep)
        return other

    def ask(self, readout: Callable, x: Any, **options: Any) -> Any:
        """x: rows as the model was trained on (images uint8, or floats in [-1, 1]; tokens), or a
        batch of them with more entries, or a number of rows for a readout that needs none."""
        if isinstance(x, int) and not isinstance(x, bool):
            if x < 1:
                raise Mistake(f'{x} rows are none; give 1 or more')
            x = {k: np.zeros((x, *v.shape), v.dtype) for k, v in self.run.row.items()}
        batch = dict(x) if isinstance(x, Mapping) else {'x': x}
        batch = {name: array(name, values) for name, values in batch.items()}
        lengths = {name: len(values) for name, values in batch.items()}
        if len(set(lengths.values())) != 1:
            raise Mistake(f'the entries of a batch have different numbers of rows: {lengths}')
        for name in ('x', 'y'):
            if name in batch and name in self.run.row:
                batch[name] = as_trained(name, batch[name], self.run.row[name], self.run.vocab)
        said = getattr(readout, '__name__', 'a readout')
        options = resolve.asked(readout, options, said)
        with in_one_line(f'{said} fails on these rows'):
            return self.over(readout, self.state, batch, **options)


def build(settings: Mapping[str, Any], run: Run, mesh: Mesh) -> Model:
    """The model of a config, at no step yet."""
    method = methods.function(settings['method'])(run, **settings['model'])
    return Model(sharding.method_by_rows(method, mesh), run, mesh, settings['seed'])


def batch_shapes(run: Run) -> dict[str, jax.ShapeDtypeStruct]:
    """A batch of the run, as shapes."""
    return {k: jax.ShapeDtypeStruct((run.batch, *v.shape), v.dtype) for k, v in run.row.items()}


def begun(model: Model, key: jax.Array, batch: Any) -> State:
    """The state at step 0, without optimizers; traceable."""
    params, memory = model.method.init(key, floats(batch))
    absent = [name for name in model.method.by_rows if name not in memory]
    if absent:
        raise TypeError(f'by_rows={model.method.by_rows}, but init makes no memory {absent}')
    return form.strong(State(jax.numpy.zeros((), jax.numpy.int32), params, memory, {}))


def shapes(model: Model, *, big: int = 2**16) -> State:
    """The state without optimizers, as shapes that know their places."""
    found = jax.eval_shape(lambda k, b: begun(model, k, b), model.key(), batch_shapes(model.run))
    places = sharding.places(found, model.mesh, by_rows=model.method.by_rows, big=big)
    return sharding.placed(found, places)


def trace(model: Model, state: State, readout: str = '', **options: Any) -> None:
    """Traces a readout with these options, or all of them: a TypeError says what is wrong."""
    batch = jax.eval_shape(floats, batch_shapes(model.run))
    for name in [readout] if readout else model.readouts:
        readouts.traced(name, model.readouts[name], state, batch, **options)


def array(name: str, values: Any) -> np.ndarray:
    """Rows as a host array."""
    try:
        found = np.asarray(values)
    except ValueError:
        raise Mistake(f'{name} has rows of different shapes; give one array') from None
    if not found.ndim:
        raise Mistake(f'{name} is {type(values).__name__}, and no array of rows')
    return found


def as_trained(
    name: str, values: np.ndarray, row: jax.ShapeDtypeStruct, vocab: int = 0
) -> np.ndarray:
    """Rows in the form that the model was trained on: converted where nothing is lost, or refused.

    A row of tokens may have another length; all else has the shape that it was trained on.
    """
    found, trained = values.shape[1:], tuple(row.shape)
    tokens = np.issubdtype(row.dtype, np.integer) and row.dtype != np.uint8
    if len(found) != len(trained) or (found != trained and not tokens):
        raise Mistake(
            f'{name} has rows of shape {list(found)}; this run was trained on {list(trained)}'
        )
    if not len(values):
        raise Mistake(f'{name} has no rows; give one or more')
    if values.dtype.kind not in 'buif' or values.dtype == np.complex64:
        raise Mistake(f'{name} is {values.dtype}; this run was trained on {row.dtype}')
    low, high = values.min(), values.max()
    if tokens:
        if values.dtype.kind not in 'ui' or low < 0 or high >= (vocab or np.inf):
            raise Mistake(
                f'{name} is {values.dtype} from {low} to {high}; this run was trained on tokens,'
                f' whole numbers from 0 to {vocab - 1}'
            )
        return values.astype(row.dtype)
    if row.dtype != np.uint8:
        if not np.isfinite([low, high]).all():
            raise Mistake(f'{name} has values that are not finite')
        return values.astype(row.dtype)
    if values.dtype.kind in 'ui' and 0 <= low and high <= 255:
        return values.astype(np.uint8)
    if values.dtype.kind == 'f' and np.isfinite([low, high]).all():
        if -1.001 <= low < 0 and high <= 1.001:
            return values.astype(np.float32)
        if 0 <= low and high <= 1:
            raise Mistake(
                f'{name} has values from {low:.3g} to {high:.3g}, which may be [0, 1] or [-1, 1];'
                ' give uint8, as (255 * x).round().astype("uint8")'
            )
    raise Mistake(
        f'{name} is {values.dtype} from {low:.4g} to {high:.4g}; this run was trained on uint8'
        ' images: give uint8, or floats from -1 to 1'
    )
