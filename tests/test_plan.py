"""What a step needs elsewhere: sums by hand, and a step of the devices that are here."""

import importlib.util
import math
from pathlib import Path

import jax
import pytest

from ssljax import cli, job, plan, program, resolve
from ssljax.names import Mistake

TEXT = """
  %a = f32[8,128]{1,0:T(8,128)} all-reduce(f32[8,128]{1,0} %x), replica_groups=[2,4]<=[8]
  %b = (bf16[16]{0}, f32[4,2]{1,0}) all-reduce(%y, %z), replica_groups={{0,1}}, to_apply=%sum
  %c = (f32[10]{0}, f32[80]{0}) all-gather-start(%w), replica_groups=[1,8]<=[8], dimensions={0}
  %d = f32[80]{0} all-gather-done((f32[10]{0}, f32[80]{0}) %c)
  %e = f32[5]{0} reduce-scatter(f32[40]{0} %v), replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
  %f = (s32[3]{0}, s32[3]{0}, u32[], u32[]) collective-permute-start(s32[3]{0} %u)
  %g = f32[8,128]{1,0} add(f32[8,128]{1,0} %a, f32[8,128]{1,0} %a)
"""


def test_what_is_sent_is_counted():
    """A ring sends what is summed twice, all but a part; what is gathered or scattered once."""
    assert program.exchanged(TEXT) == {
        'all-reduce': (2, 2 * (4 * 8 * 128 + 2 * 16 + 4 * 8)),
        'all-gather': (1, 4 * 80),
        'reduce-scatter': (1, 4 * 40),
        'collective-permute': (1, 4 * 3),
    }


SPLIT = """
%async_collective_fusion.1 (p: f32[2,8], q: f32[8,8]) -> (f32[4], f32[2,8], f32[8,8]) {
  %all-gather.2 = f32[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups=[1,4]<=[4]
}

%fused (p: f32[100]) -> f32[100] {
  %inside = f32[100]{0} negate(%p)
}

%sum (a: f32[], b: f32[]) -> f32[] {
  %add = f32[] add(%a, %b)
}

ENTRY %main.3 (x: f32[100], y: f32[2,8]) -> f32[100] {
  %x = f32[100]{0:T(128)} parameter(0)
  %y = f32[2,8]{1,0:T(8,128)} parameter(1)
  %near = (f32[100]{0:T(128)S(1)}, f32[100]{0:T(128)}, u32[]{:S(2)}) copy-start(%x)
  %here = f32[100]{0:T(128)S(1)} copy-done(%near)
  %part = ((f32[100]{0:T(128)}), f32[20]{0:T(128)S(1)}, s32[]{:S(2)}) slice-start(%x), slice={[0:20]}
  %double = f32[100]{0:T(128)S(1)} fusion(%here), kind=kLoop, calls=%fused
  %far = f32[100]{0:T(128)} fusion(%double, %x), kind=kLoop, calls=%fused
  %all-gather.1 = f32[8,8]{1,0:T(8,128)} all-gather(%y), channel_id=7, replica_groups=[1,4]<=[4]
  %more = (f32[4]{0:T(128)}, f32[2,8]{1,0:T(8,128)}, f32[8,8]{1,0:T(8,128)}) fusion(%y, %all-gather.1), calls=%async_collective_fusion.1
  ROOT %all-reduce = f32[100]{0:T(128)} all-reduce(%far), channel_id=8, to_apply=%sum
}
"""  # noqa: E501


def test_an_exchange_that_is_cut_in_parts_counts_once():
    """Its parts, which run beside other work, have one channel."""
    sent = program.exchanged(SPLIT)
    assert sent == {'all-gather': (1, 4 * 64), 'all-reduce': (1, 2 * 400)}


def test_what_stays_on_the_chip_is_not_moved():
    """A copy moves what it copies, a slice the slice; what is inside of a fusion moves nothing."""
    copied, sliced, fused, gathered, part, summed = 400, 80, 400 + 400, 64 + 256, 16, 400 + 400
    assert program.moved(SPLIT) == copied + sliced + fused + gathered + part + summed


def test_of_a_step_that_is_here_all_is_moved_at_least_once():
    text = jax.jit(lambda x: (x @ x).sum()).lower(jax.numpy.ones((64, 64))).compile().as_text()
    assert 4 * 64 * 64 <= program.moved(text) <= 40 * 64 * 64


def test_the_narrowest_floor_says_how_fast():
    made = plan.Plan(
        ('net',), 'v5e', 8, dict(data=8, fsdp=1, tensor=1), 80, 10, 1e9, 17e9,
        operations=197e12, read=819e8, exchanges={'all-reduce': (1, 100e9)},
    )  # fmt: skip
    assert plan.floors(made) == dict(operations=1, memory=0.1, links=0.5)
    text = plan.described(made)
    assert '80 examples/s' in text and 'operations is the narrowest' in text
    assert 'does not fit' in text and 'fit' not in plan.described(made._replace(peak=15e9))
    assert plan.floors(made._replace(chip='cpu')) == {}


def test_a_step_of_the_devices_that_are_here():
    (found,) = plan.plan('simclr:smoke', [('mesh.data', '4'), ('mesh.fsdp', '2')], 'local')
    assert found.mesh == dict(data=4, fsdp=2, tensor=1) and found.devices == len(jax.devices())
    assert 0 < found.kept < found.peak and found.operations > 0
    assert found.exchanges['all-reduce'][0] > 0
    text = plan.described(found)
    assert '8 x cpu' in text and 'data 4, fsdp 2' in text and 'floor' not in text


def test_a_data_set_that_is_not_here_has_a_shape():
    typed = [('batch', '16'), ('steps', '4'), ('optim.net.warmup', '1')]
    known = plan.argparse.Namespace(row='16x16x3', rows=1000, classes=10)
    source = plan.unseen(known)
    assert source.splits['train'].rows([0, 1])['x'].shape == (2, 16, 16, 3)
    assert plan.plan('simclr:smoke', typed, 'local', source)[0].batch == 16
    with pytest.raises(Mistake, match='256x256x3'):
        plan.unseen(plan.argparse.Namespace(row='16,16', rows=1, classes=1))


CONFIGS = Path(__file__).parents[1] / 'configs'
LARGE = [path.stem for path in sorted(CONFIGS.glob('*.py')) if "'imagenet'" in path.read_text()]


@pytest.mark.parametrize('name', LARGE)
def test_a_config_of_imagenet_has_a_state(name):
    """Nothing is computed: shapes of one forward pass, where parts that do not fit are found."""
    data = plan.unseen(plan.argparse.Namespace(row='256x256x3', rows=1_281_167, classes=1000))
    settings = resolve.resolve(f'{name}:imagenet', [])
    made = job.make({**settings, 'data': data, 'evals': {}})
    assert sum(leaf.size for leaf in jax.tree.leaves(made.shapes.params)) > 20e6


@pytest.mark.parametrize('topology', ['v9:2x4', 'v5e', 'v5e:8', 'v5e:axb'])
def test_a_topology_that_there_is_not_is_one_line(topology, capsys):
    command = ['--config=simclr:smoke', f'--topology={topology}']
    assert cli.guarded(lambda: plan.main(command)) == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and len(err.splitlines()) == 1 and 'v5e' in err


class Lowered:
    def __init__(self, told):
        self.told = told

    def compile(self):
        raise jax.errors.JaxRuntimeError(self.told)


def test_a_step_that_does_not_fit_says_so_in_one_line():
    told = 'RESOURCE_EXHAUSTED: 16.18G exceeds available HBM (15.75G).\n\nLargest buffers: ...'
    with pytest.raises(Mistake, match=r'does not fit: 16.18G exceeds .*\(15.75G\); type') as found:
        plan.fitting(Lowered(told))
    assert len(str(found.value).splitlines()) == 1
    with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
        plan.fitting(Lowered('INTERNAL: a fault of the compiler'))


@pytest.mark.skipif(not importlib.util.find_spec('libtpu'), reason='libtpu is not installed')
def test_a_step_is_compiled_for_a_tpu_that_is_not_here():
    import json
    import subprocess
    import sys

    code = (
        'import json; from ssljax import plan\n'
        'found = plan.plan("simclr:smoke", [], "v5e:2x4")[0]\n'
        'print(json.dumps(plan.as_json(found)))'
    )
    ran = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found['devices'] == 8 and 'all-reduce' in found['exchanges']
    assert all(math.isfinite(found['floors'][name]) for name in ('operations', 'memory', 'links'))
