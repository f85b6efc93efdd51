"""A named set of linen modules that are called like functions and keep their new statistics."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

from ssljax.names import Mistake, build, listed


def offered() -> Mapping[str, Callable]:
    """The nets that a config may name, found by listing."""
    return listed('ssljax.nets', nn.Module)


def make(spec: Mapping[str, Any] | nn.Module, **given: Any) -> Any:
    """The linen module of a spec, dict(name=..., **options); a module is returned as it is.

    given: options, such as dtype or vocab, for the nets that have them; the spec overrides them.
    """
    module = build(offered(), spec, 'net', **given)
    if not isinstance(module, nn.Module):
        raise Mistake(f'no net: {module!r}; type dict(name=...), as dict(name="mlp")')
    return module


@functools.cache
def takes_train(kind: type, method: str) -> bool:
    """Whether a module's method has an argument `train`."""
    if not hasattr(kind, method):
        raise Mistake(
            f'{kind.__name__} does not give {method}, which is asked of it here;'
            f' nets that do: {", ".join(giving(method)) or "none"}'
        )
    return 'train' in inspect.signature(getattr(kind, method)).parameters


def giving(method: str) -> list[str]:
    """The nets on offer that have this method, of those that can be made without options."""
    found = []
    for name, function in offered().items():
        with contextlib.suppress(Mistake, TypeError):
            found += [name] if hasattr(function(), method) else []
    return sorted(found)


class Nets:
    """nets = Nets(encoder=dict(name='conv'), projector=dict(name='mlp'), dtype='float32')"""

    def __init__(self, *, dtype: Any = None, vocab: int = 0, patch: int = 0, **specs: Any):
        for name in specs:
            if name in ('params', 'stats', 'train') or name.startswith('_'):
                raise Mistake(f'no net may be called {name!r}; type another name, as encoder')
        facts = dict(dtype=dtype, vocab=vocab, patch=patch)
        given = {k: v for k, v in facts.items() if v}
        self.modules = {name: make(spec, **given) for name, spec in specs.items()}

    def __call__(
        self, params: Mapping, stats: Mapping | None = None, *, train: bool = False, key: Any = None
    ) -> 'Bound':
        """The nets with these weights; `key` is for dropout."""
        return Bound(self.modules, params, stats or {}, train, key)

    def init(self, key: jax.Array, forward: Callable, *args: Any) -> tuple[dict, dict, Any]:
        """Params, statistics and output of forward(net, *args), which must call every net.

        The first call of a net makes its params, so it must use all of them.
        """
        net = Fresh(self.modules, {}, {}, False, key)
        out = forward(net, *args)
        unused = ', '.join(name for name in self.modules if name not in net.seen)
        if unused:
            raise ValueError(f'the forward given to init never calls: {unused}')
        return net.params, net.stats, out


class Bound:
    """Nets bound to weights: net.encoder(x), then net.stats."""

    def __init__(self, modules, params, stats, train, key):
        self._modules, self._key, self._calls = modules, key, 0
        self.params, self.stats, self.train = params, stats, train

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('_') or name not in self._modules:
            raise AttributeError(f'no net {name!r}; there are: {", ".join(self._modules)}')
        return functools.partial(self._call, name)

    def _call(self, name, *args, method='__call__', **options):
        module, stats = self._modules[name], self.stats.get(name, {})
        if takes_train(type(module), method):
            options.setdefault('train', self.train)
        rngs = self._rngs()
        variables = {'params': self.params.get(name, {}), **stats}
        if not (stats and options.get('train')):
            return module.apply(variables, *args, method=method, rngs=rngs, **options)
        collections = list(stats)
        out, new_stats = module.apply(
            variables, *args, method=method, rngs=rngs, mutable=collections, **options
        )
        self.stats = {**self.stats, name: new_stats}
        return out

    def _rngs(self):
        """Another dropout key for every call."""
        self._calls += 1
        return {} if self._key is None else {'dropout': jax.random.fold_in(self._key, self._calls)}


class Fresh(Bound):
    """Nets without weights: the first call of each makes them."""

    @property
    def seen(self) -> set[str]:
        return self.__dict__.setdefault('_seen', set())

    def _call(self, name, *args, method='__call__', **options):
        if name in self.seen:
            return super()._call(name, *args, method=method, **options)
        self.seen.add(name)
        module = self._modules[name]
        if takes_train(type(module), method):
            options.setdefault('train', self.train)
        key = jax.random.fold_in(self._key, list(self._modules).index(name))
        out, variables = module.init_with_output(key, *args, method=method, **options)
        stats = dict(variables)
        if params := stats.pop('params', None):
            self.params = {**self.params, name: params}
        if stats:
            self.stats = {**self.stats, name: stats}
        return out
