"""What works: writes docs/coverage.md and docs/methods.md from docs/coverage.toml and results/.
python benchmarks/coverage.py [--check]

Mistakes in the table are printed, a line each. --check writes nothing and fails if a page is stale.
"""

import ast
import functools
import importlib.util
import json
import math
import pkgutil
import re
import shlex
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import config  # noqa: E402
from ssljax.names import Mistake  # noqa: E402

TABLE = ROOT / 'docs' / 'coverage.toml'
METHODS = ROOT / 'ssljax' / 'methods'
FIELDS = {
    'what': str, 'paper': str, 'lectures': str, 'beyond': bool, 'where': (str, list),
    'result': (str, dict), 'beside': dict, 'differs': str, 'missing': str, 'method': str,
    'stands': bool,
}  # fmt: skip
OF_WORK = (
    'result',
    'beside',
    'differs',
    'missing',
    'method',
    'stands',
)  # fields that need a `where`
STATUS = ('works', 'in part', 'not yet')

Row = Mapping[str, Any]
Table = Mapping[str, Mapping[str, Row]]  # family -> id -> row


def read_table(path: Path = TABLE) -> Table:
    return tomllib.loads(path.read_text())


def rows(table: Table) -> Iterator[tuple[str, str, Row]]:
    """Family, id and row."""
    yield from ((family, name, row) for family, some in table.items() for name, row in some.items())


def status(row: Row) -> str:
    if not row.get('where'):
        return 'not yet'
    return 'in part' if row.get('missing') else 'works'


def several(value: str | list) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


# ---- numbers, by their path in results/


@functools.cache
def result(name: str) -> dict:
    return json.loads((ROOT / 'results' / f'{name}.json').read_text())


def named(row: Row) -> dict[str, str]:
    """The path of each number of a row, by its name."""
    found = row.get('result', {})
    if isinstance(found, str):
        return {' '.join(found.split('/')[1:]).replace('_', ' '): found}
    return found


def first(row: Row) -> tuple[str, str]:
    """Name and path of the number that stands for a row; empty where it has none."""
    return next(iter(named(row).items()), ('', ''))


def scores(path: str) -> dict | None:
    """Who was scored -> metric -> values, where the path is FILE/EVALUATOR/METRIC."""
    file, *steps = path.split('/')
    if len(steps) != 2 or 'evals' not in result(file):
        return None
    return result(file)['evals'][steps[0]]['scores']


def values(path: str) -> list[float]:
    """The number of each seed."""
    if (found := scores(path)) is not None:
        return found['trained'][path.split('/')[2]]['values']
    file, *steps = path.split('/')
    node = result(file)
    for step in steps:
        node = stepped(node, step)
    node = node.get('values', node) if isinstance(node, dict) else node
    node = node if isinstance(node, list) else [node]
    if not node or not all(isinstance(v, int | float) for v in node):
        raise KeyError(steps[-1] if steps else file)
    return node


def stepped(node: Any, step: str) -> Any:
    """An entry of a dict; of a list of dicts what each has of that name, or those with a value."""
    if isinstance(node, dict):
        return node[step]
    if not isinstance(node, list) or not all(isinstance(entry, dict) for entry in node):
        raise KeyError(step)
    if all(step in entry for entry in node):
        found = [entry[step] for entry in node]
    else:
        found = [entry for entry in node if step in map(str, entry.values())]
    if not found:
        raise KeyError(step)
    return found[0] if len(found) == 1 else found


def spread(values: Sequence[float]) -> str:
    """Mean to three digits, ± standard deviation where it shows."""
    mean = float(f'{fmean(values):.3g}')  # what is next to 1 is written as 1 is
    digits = max(0, 2 - math.floor(math.log10(abs(mean)))) if mean else 0
    short = f'{fmean(values):.{digits}f}'
    if len(values) > 1 and (sd := f'{stdev(values):.{digits}f}') != f'{0:.{digits}f}':
        short += f' ± {sd}'
    return short


def cost(path: str) -> str:
    """'3 seeds, 10 min on cpu', as far as the file says it."""
    found, count = result(path.split('/')[0]), len(values(path))
    told = []
    if count > 1 or 'seeds' in found:
        told.append(f'{count} seed' + 's' * (count > 1))
    if 'minutes' in found:
        minutes, device = fmean(found['minutes']['whole']), found['device'].split(',')[0]
        told.append(f'{minutes:.0f} min on {device}')
    return ', '.join(told)


def ours(row: Row) -> list[str]:
    """A row's numbers, with a link to their file; what they cost once for each file."""
    lines, told = [], set()
    for name, path in named(row).items():
        file, paid = path.split('/')[0], cost(path)
        link = f'{name} [**{spread(values(path))}**](../results/{file}.json)'
        lines.append(f'{link} ({paid})' if paid and (file, paid) not in told else link)
        told.add((file, paid))
    return lines


def scored(path: str) -> str:
    """'pixels 45.5, ...': who learned nothing, where the same evaluator scored them."""
    metric = path.split('/')[-1]
    found = [(w, s) for w, s in (scores(path) or {}).items() if w != 'trained' and metric in s]
    return ', '.join(f'{who} {spread(s[metric]["values"])}' for who, s in found)


def others(row: Row) -> list[str]:
    """What the table itself sets beside the numbers of a row."""
    return [f'{name} {spread(values(path))}' for name, path in row.get('beside', {}).items()]


def bar(row: Row) -> list[str]:
    """What stands beside the number that stands for a row."""
    found = scored(first(row)[1])
    return [found] if found else others(row)


# ---- methods


OTHERS = 'Others'  # methods that the lectures do not have


def methods() -> list[str]:
    return sorted(path.stem for path in METHODS.glob('*.py') if path.stem != '__init__')


def owners(table: Table) -> dict[str, tuple[str, Row]]:
    """Method -> its family and row; a row that has the name of a method is its row. A new method
    may have none yet, or one that says nothing of it."""
    found = [(row.get('method', name), family, row) for family, name, row in rows(table)]
    known = methods()
    with_row = {name: (family, row) for name, family, row in found if name in known}
    return with_row | {name: (OTHERS, {}) for name in known if name not in with_row}


def headline(name: str) -> tuple[str, str]:
    """The first sentence of a method's file, and the paper that it names."""
    text = ast.get_docstring(ast.parse((METHODS / f'{name}.py').read_text())) or ''
    author = r'(?:(?:van|von|de|den|der|la) )*[A-Z][^.:\n]*?(?: et al\.)?'
    paper = re.search(rf'{author} \d{{4}}(?:, \d{{4}}|, arXiv:\d+\.\d+)*', text)
    title = text[: paper.start()] if paper else text
    title = ' '.join(title.split('\n\n')[0].split()).rstrip('.')
    return title, paper[0] if paper else ''


def linked(paper: str) -> str:
    return re.sub(r'arXiv:([\d.]+)', r'[\g<0>](https://arxiv.org/abs/\1)', paper)


# ---- mistakes


def mistakes(table: Table) -> list[str]:
    """What is wrong with the table, a line each."""
    found, seen = [], set()
    for _, name, row in rows(table):
        if name in seen:
            found.append(f'{name}: there are two rows of this name')
        seen.add(name)
        wrong = list(form(row)) or [*places(row), *paths(row)]
        found += [f'{name}: {what}' for what in wrong]
    own, rows_of = [row.get('method', name) for _, name, row in rows(table)], owners(table)
    for name in methods():
        if own.count(name) > 1:
            found.append(
                f'methods/{name}.py: {own.count(name)} rows are its own; at most one may be'
            )
        elif 'where' in rows_of[name][1] and not owns(name, rows_of[name][1]):
            found.append(f'methods/{name}.py: its row has no config that trains it')
        if not all(headline(name)):
            found.append(f'methods/{name}.py: its first lines have no title or no paper')
    return found


def form(row: Row) -> Iterator[str]:
    for field, value in row.items():
        if field not in FIELDS:
            yield f'unknown field {field}; fields: {", ".join(FIELDS)}'
        elif not isinstance(value, FIELDS[field]) or not value:
            yield f'{field} is empty or of the wrong kind'
    if not row.get('what'):
        yield 'what is missing'
    if not row.get('where'):
        yield from (f'{field} without where' for field in OF_WORK if field in row)
    if 'method' in row and row['method'] not in methods():
        yield f'method {row["method"]} is not in ssljax/methods'
    if 'result' in row and 'lectures' in row and not row.get('differs'):
        yield 'the lectures have a number too: say in differs why it is another'
    if 'result' in row and not any(
        where.startswith(('configs/', 'python ')) for where in several(row.get('where', []))
    ):
        yield 'a result without the config or the command that makes it'


def places(row: Row) -> Iterator[str]:
    for where in several(row.get('where', [])):
        if wrong := absent(where):
            yield f'{where}: {wrong}'


def absent(where: str) -> str:
    """Why a place does not exist; '' where it does."""
    if where.startswith('configs/'):
        return no_config(where)
    if where.startswith('python '):
        return no_command(where)
    if where.startswith('tests/'):
        return no_test(where)
    try:
        pkgutil.resolve_name(where)
    except (ImportError, AttributeError, ValueError) as error:
        return f'cannot be imported: {error}'
    return ''


def no_config(where: str) -> str:
    try:
        return '' if trained(where) else 'names no method'
    except Mistake as error:
        return str(error)


@functools.cache
def trained(where: str) -> str:
    """The method that a config trains."""
    return config.read(str(ROOT / where)).get('method', '')


def no_command(where: str) -> str:
    words = shlex.split(where)[1:]
    if words[0] == '-m':
        if len(words) < 2 or not importlib.util.find_spec(words[1]):
            return 'there is no such module'
    elif not (ROOT / words[0]).is_file():
        return 'there is no such file'
    flags = dict(word.split('=', 1) for word in words if word.startswith('--') and '=' in word)
    if '--config' in flags:
        return no_config(flags['--config'])
    for name in filter(None, flags.get('--evals', '').split(',')):
        if not (ROOT / 'ssljax' / 'evals' / f'{name}.py').is_file():
            return f'there is no evaluator {name}'
    return ''


def no_test(where: str) -> str:
    file, _, name = where.partition('::')
    if not (ROOT / file).is_file():
        return 'there is no such file'
    return '' if name in functions(file) else 'there is no such test'


@functools.cache
def functions(file: str) -> list[str]:
    body = ast.parse((ROOT / file).read_text()).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef)]


def paths(row: Row) -> Iterator[str]:
    for name, path in [*named(row).items(), *row.get('beside', {}).items()]:
        try:
            spread(values(path))
        except FileNotFoundError:
            yield f'{name}: there is no results/{path.split("/")[0]}.json'
        except (KeyError, TypeError) as error:
            yield f'{name}: {path} has no {error}'


def owns(method: str, row: Row) -> str:
    """The first config of a row that trains a method."""
    found = [w for w in several(row.get('where', [])) if w.startswith('configs/')]
    return next((w for w in found if not no_config(w) and trained(w) == method), '')


# ---- pages

MADE = '<!-- made by `python benchmarks/coverage.py`; edit docs/coverage.toml -->'

COVERAGE = """# What works

{made}

Every row that this project is asked to do, where it works, and how well. *Works*: it runs, it is
tested, and the least measurement that shows it is done. *In part*: the last column says what is
missing. *Not yet*: nothing is claimed. Numbers are read from `results/`, mean and standard
deviation over seeds; a link leads to the protocol and the machine of each. *Beside it*: who learned
nothing (pixels as they are and standardized, the untrained net, n-grams), or what the cell names.
*The lectures*: what they print, where they do. `docs/methods.md` has the methods alone.

{counts}

{families}
"""

METHODS_PAGE = """# Methods

{made}

Each is one file in `ssljax/methods/` and one config. The number is the first of its row in
`docs/coverage.md`, where the others are; *beside it*: who learned nothing, or what the cell names.

{families}
"""


def grid(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [told(head), '|' + '---|' * len(head), *(told(row) for row in body)]
    return '\n'.join(lines)


def told(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def counted(some: Mapping[str, Row]) -> list[int]:
    found = [status(row) for row in some.values()]
    return [found.count(name) for name in STATUS]


def counts(table: Table) -> str:
    """A row per family: how many of its rows work."""
    body = [(family, counted(some)) for family, some in table.items()]
    body.append(('**all**', [sum(column) for column in zip(*(numbers for _, numbers in body))]))
    return grid(
        ['family', *STATUS, 'rows'],
        [[family, *map(str, numbers), str(sum(numbers))] for family, numbers in body],
    )


def line(name: str, row: Row) -> list[str]:
    """A row of docs/coverage.md."""
    what = row['what'] + (f'. {row["paper"]}' if 'paper' in row else '')
    printed = 'not in the lectures' if row.get('beyond') else row.get('lectures', '')
    beside = dict.fromkeys([*(scored(path) for path in named(row).values()), *others(row)])
    missing = f'missing: {row["missing"]}' if 'missing' in row else ''
    return [
        f'`{name}`',
        what,
        status(row),
        '<br>'.join(f'`{where}`' for where in several(row.get('where', []))),
        '<br>'.join(ours(row)),
        '<br>'.join(filter(None, beside)),
        printed,
        '<br>'.join(filter(None, (row.get('differs', ''), missing))),
    ]


def coverage(table: Table) -> str:
    head = ['row', 'what', 'status', 'where', 'number', 'beside it', 'the lectures']
    head.append('why they differ; what is missing')
    parts = [
        f'## {family}\n\n{grid(head, (line(*one) for one in some.items()))}'
        for family, some in table.items()
    ]
    return COVERAGE.format(made=MADE, counts=counts(table), families='\n\n'.join(parts))


def methods_page(table: Table) -> str:
    """A row per method, by family."""
    head = ['method', 'what', 'paper', 'config', 'number', 'beside it', 'missing']
    parts = []
    for family in (*table, OTHERS):
        mine = [(name, row) for name, (where, row) in owners(table).items() if where == family]
        if mine:
            parts.append(f'## {family}\n\n{grid(head, (entry(*one) for one in mine))}')
    return METHODS_PAGE.format(made=MADE, families='\n\n'.join(parts))


def entry(name: str, row: Row) -> list[str]:
    """A row of docs/methods.md."""
    title, paper = headline(name)
    return [
        f'[`{name}`](../ssljax/methods/{name}.py)',
        title,
        linked(paper),
        f'`{owns(name, row) or f"configs/{name}.py"}`',
        (ours(row) or ['not measured yet'])[0],
        '<br>'.join(bar(row)),
        row.get('missing', ''),
    ]


def families() -> str:
    """For README: a row per family; the number of what stands for it, or of a method that works."""
    table = read_table()
    body = []
    for family, some in table.items():
        mine = {name: row for name, (where, row) in owners(table).items() if where == family}
        measured = [name for name, row in mine.items() if first(row)[1]]
        number, beside = '', ''
        if measured:
            best = min(
                measured,
                key=lambda name: ('stands' not in mine[name], STATUS.index(status(mine[name]))),
            )
            name, path = first(mine[best])
            number = f'`{best}`: {name} **{spread(values(path))}**'
            beside = '; '.join(bar(mine[best]))
        names = ', '.join(f'`{name}`' for name in mine)
        works, part, _ = counted(some)
        body.append([family, names, number, beside, str(works), str(part), str(len(some))])
    head = ['family', 'methods', 'a number of it', 'beside it', 'rows that work', 'in part', 'of']
    return grid(head, body)


def pages(table: Table) -> dict[str, str]:
    return {'docs/coverage.md': coverage(table), 'docs/methods.md': methods_page(table)}


def stale(table: Table) -> list[str]:
    """The pages that are not what the table and results/ say."""

    def old(page: str) -> str:
        return (ROOT / page).read_text() if (ROOT / page).is_file() else ''

    return [page for page, text in pages(table).items() if old(page) != text]


def main(argv: Sequence[str] | None = None) -> int:
    check = '--check' in (sys.argv[1:] if argv is None else argv)
    try:
        table = read_table()
        wrong = mistakes(table)
    except tomllib.TOMLDecodeError as error:  # two rows of one name in a family too
        wrong = [str(error)]
    if wrong:
        print('\n'.join(f'docs/coverage.toml: {what}' for what in wrong))
        return 1
    late = stale(table)
    if check and late:
        print(
            f'not what docs/coverage.toml and results/ say: {", ".join(late)};'
            ' type python benchmarks/coverage.py'
        )
        return 1
    for page in late:
        (ROOT / page).write_text(pages(table)[page])
    return 0


if __name__ == '__main__':
    sys.exit(main())
