"""Writes the tables of README and docs from results/: python benchmarks/tables.py [--check]"""

import json
import re
import sys
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import evals  # noqa: E402

PAGES = ('README.md', 'docs/faults.md')
DECIMALS = {'accuracy': 1, 'frechet': 1, 'nats_per_character': 3}


def results() -> str:
    """A row per number: trivial baselines, untrained, trained; mean and sd over seeds."""
    lines = [
        '| run | number | trivial | untrained | **trained** | seeds | minutes (of CPU) |',
        '|' + '---|' * 7,
    ]
    for path in sorted((ROOT / 'results').glob('*.json')):
        found = json.loads(path.read_text())
        if 'evals' not in found:
            continue
        for name, result in found['evals'].items():
            metric = evals.module(name).SHOWN[0]
            scores = {w: s[metric] for w, s in result['scores'].items() if metric in s}
            if 'trained' not in scores:
                continue
            digits = DECIMALS.get(metric, 2)
            trivial = [
                f'{who} {s["mean"]:.{digits}f}'
                for who, s in scores.items()
                if who not in ('trained', 'untrained')
            ]
            mean, sd, minutes = scores['trained']['mean'], scores['trained']['sd'], found['minutes']
            spread = f' ± {sd:.{digits}f}' if len(found['seeds']) > 1 else ''
            lines.append(
                f'| `{path.stem}` | {name} {metric.replace("_", " ")} | {", ".join(trivial)}'
                f' | {scores["untrained"]["mean"]:.{digits}f} | **{mean:.{digits}f}**{spread}'
                f' | {len(found["seeds"])}'
                f' | {fmean(minutes["whole"]):.0f} ({fmean(minutes["cpu"]):.0f}) |'
            )
    return '\n'.join(lines)


def faults() -> str:
    path = ROOT / 'results' / 'faults.json'
    found = json.loads(path.read_text())['faults'] if path.exists() else []
    lines = ['| fault | file | caught by |', '|' + '---|' * 3]
    for row in found:
        test = f'`{row["test"]}`' if row['test'] else '**nothing**'
        lines.append(f'| {row["fault"]} | `{row["file"]}` | {test} |')
    return '\n'.join(lines)


TABLES = {'results': results, 'faults': faults}


def written(text: str) -> str:
    """A page with its tables made anew, between <!-- NAME --> and <!-- end -->."""

    def table(match: re.Match) -> str:
        return f'<!-- {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->'

    return re.sub(r'<!-- (\w+) -->\n.*?<!-- end -->', table, text, flags=re.S)


def main() -> int:
    stale = []
    for page in PAGES:
        path = ROOT / page
        old = path.read_text()
        if (new := written(old)) != old:
            stale.append(page)
            if '--check' not in sys.argv:
                path.write_text(new)
    if '--check' in sys.argv and stale:
        print(f'not what results/ says: {", ".join(stale)}; type python benchmarks/tables.py')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
