"""Launchers: what each would do, and what the local one does."""

import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from launch import gke, local, ray_job, skypilot, slurm, tpu_vm
from ssljax import cli
from ssljax.names import Mistake

ROOT = Path(__file__).parents[1]
RUN = ['--config=configs/simclr.py:smoke', '--workdir=runs/one', '--config.steps=8']
TRAIN = 'python -m ssljax.train --config=configs/simclr.py:smoke'


def dry(main, capsys, *options):
    assert main([*options, *RUN, '--dry_run']) == 0
    return capsys.readouterr().out


def test_every_command_of_the_page_says_what_it_would_do(capsys):
    text = (ROOT / 'launch' / 'README.md').read_text()
    launchers = {'local', 'slurm', 'skypilot', 'gke', 'ray_job', 'tpu_vm'}
    found = re.findall(r'^python -m launch[.](\w+) (.*)$', text, flags=re.M)
    assert {name for name, _ in found} == launchers
    for name, words in found:
        main = importlib.import_module(f'launch.{name}').main
        assert main([*shlex.split(words), '--dry_run']) == 0
        assert 'ssljax.train' in capsys.readouterr().out


def test_local_starts_the_command_once_a_process(capsys):
    lines = dry(local.main, capsys, '--processes=3', '--devices=2').splitlines()
    given = [
        dict(word.split('=', 1) for word in line.split(' python ')[0].split()) for line in lines
    ]
    assert [one['JAX_PROCESS_ID'] for one in given] == ['0', '1', '2']
    assert len({one['JAX_COORDINATOR_ADDRESS'] for one in given}) == 1
    assert all(one['JAX_NUM_PROCESSES'] == '3' for one in given)
    assert all('device_count=2' in line and line.endswith('--config.steps=8') for line in lines)
    cards = dry(local.main, capsys, '--processes=2', '--gpus=4').splitlines()
    assert 'CUDA_VISIBLE_DEVICES=0,1,2,3' in cards[0] and '=4,5,6,7' in cards[1]


def test_slurm_saves_before_its_time_and_goes_on(capsys, tmp_path):
    text = dry(slurm.main, capsys, '--nodes=2', '--gpus=8', '--save=90', '--python=python')
    options = dict(
        line.removeprefix('#SBATCH --').split('=')
        for line in text.splitlines()
        if line.startswith('#SBATCH') and '=' in line
    )
    assert options['nodes'] == '2' and options['gpus-per-node'] == '8'
    assert options['signal'] == 'USR1@90' and '#SBATCH --requeue' in text
    assert TRAIN in text and 'partition' not in options
    (tmp_path / 'job.sh').write_text(text)
    subprocess.run(['bash', '-n', tmp_path / 'job.sh'], check=True)
    if shutil.which('shellcheck'):
        subprocess.run(['shellcheck', tmp_path / 'job.sh'], check=True)
    # what its last lines do with the code of the run
    (tmp_path / 'srun').write_text('#!/bin/sh\nexit $CODE\n')
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho "$@"\n')
    for name in ('srun', 'scontrol'):
        (tmp_path / name).chmod(0o755)
    for code, told in ((0, ''), (75, 'requeue 7\n'), (1, '')):
        path = f'{tmp_path}:{os.environ["PATH"]}'
        environment = dict(PATH=path, CODE=str(code), SLURM_JOB_ID='7')
        ran = subprocess.run(
            ['bash', tmp_path / 'job.sh'], env=environment, capture_output=True, text=True
        )
        assert (ran.returncode, ran.stdout) == (code, told)


def test_skypilot_keeps_the_workdir_in_the_bucket(capsys):
    task = yaml.safe_load(dry(skypilot.main, capsys, '--bucket=gs://mine', '--nodes=2'))
    assert task['file_mounts'] == {'/runs': {'source': 'gs://mine', 'mode': 'MOUNT'}}
    assert '--workdir=/runs/runs/one' in task['run'] and 'SKYPILOT_NODE_RANK' in task['run']
    assert task['resources']['job_recovery']['recover_on_exit_codes'] == [75]
    tpu = yaml.safe_load(dry(skypilot.main, capsys, '--bucket=s3://b', '--accelerators=tpu-v5e-8'))
    assert 'COORDINATOR' not in tpu['run'] and ',tpu]' in tpu['setup']
    assert tpu['run'].startswith('source ~/env/bin/activate\n')


LAYOUTS = {
    'one node': [],
    'two nodes': ['--nodes=2'],
    'slice': '--nodes=2 --chips=4 --accelerator=tpu-v5-lite-podslice --topology=2x4'.split(),
}


def test_jobset_gives_each_pod_its_number(capsys):
    found = yaml.safe_load(dry(gke.main, capsys, '--image=i', '--bucket=b', '--nodes=2'))
    job = found['spec']['replicatedJobs'][0]['template']['spec']
    pod = job['template']['spec']
    container = pod['containers'][0]
    variables = {one['name']: one for one in container['env']}
    assert set(variables) == {'JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID'}
    # JobSet's names of hosts: JOBSET-JOB-REPLICA-INDEX.JOBSET
    assert variables['JAX_COORDINATOR_ADDRESS']['value'] == 'ssljax-workers-0-0.ssljax:8476'
    assert (
        job['parallelism']
        == job['completions']
        == 2
        == int(variables['JAX_NUM_PROCESSES']['value'])
    )
    assert job['podFailurePolicy']['rules'][0]['onExitCodes']['values'] == [75]
    assert container['command'][-2:] == ['--workdir=/runs/runs/one', '--config.steps=8']
    assert container['volumeMounts'][0]['name'] == pod['volumes'][0]['name']
    tpu = yaml.safe_load(dry(gke.main, capsys, '--image=i', '--bucket=b', *LAYOUTS['slice']))
    pod = tpu['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']
    assert pod['nodeSelector']['cloud.google.com/gke-tpu-topology'] == '2x4'
    assert pod['containers'][0]['resources']['limits'] == {'google.com/tpu': 4}
    assert not pod['containers'][0]['env']


def test_a_tpu_is_asked_for_used_and_given_back(capsys):
    lines = dry(tpu_vm.main, capsys, '--zone=z', '--bucket=b', '--spot').splitlines()
    verbs = ['create', 'describe', 'scp', 'ssh', 'ssh', 'delete']
    assert [next(v for v in verbs if f' {v} ' in line) for line in lines] == verbs
    assert '--spot' in lines[0] and f'{TRAIN} --workdir=../runs/runs/one' in lines[4]
    # an installation that fails ends it; the Python that trains is the one installed into
    assert ';' not in lines[3] and ' ~/env && ' in lines[3] and '../env/bin/python -m' in lines[4]


def test_ray_starts_itself_inside_with_the_same_command(capsys):
    run = ['--config=simclr:smoke', '--workdir=/shared/one']
    assert ray_job.main(['--nodes=2', '--gpus=1', *run, '--dry_run']) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert '--inside --nodes=2 --gpus=1.0' in first and first.endswith(' '.join(run))
    assert second == f'on each of 2: python -m ssljax.train {" ".join(run)}'


@pytest.mark.parametrize(
    'main, options, said',
    [
        (local.main, ['--processes=0', *RUN], '--processes=0'),
        (local.main, ['--devices=1', '--gpus=1', *RUN], 'CPUs'),
        (local.main, ['--workdir=runs/one'], '--config is missing'),
        (slurm.main, ['--config=a'], '--workdir is missing'),
        (slurm.main, ['--node=2', *RUN], '--nodes'),
        (skypilot.main, RUN, '--bucket'),
        (skypilot.main, ['--bucket=gs://b', '--config=a', '--workdir=/tmp/x'], 'relative'),
        (gke.main, ['--image=i', *RUN], '--bucket'),
        (gke.main, ['--image=i', '--bucket=b', '--name=A_b', *RUN], 'A_b'),
        (tpu_vm.main, ['--bucket=b', *RUN], '--zone'),
        (ray_job.main, RUN, 'absolute'),
    ],
)
def test_a_mistake_is_one_line(main, options, said, capsys):
    with pytest.raises(Mistake, match=said):
        main([*options, '--dry_run'])
    assert cli.guarded(lambda: main([*options, '--dry_run'])) == 2
    assert said in capsys.readouterr().err


def started(program, folder, count=2, grace=1.0):
    """launch.local of a small program in place of a training."""
    code = (
        'import sys, pathlib\nfrom launch import local\n'
        f'command = [sys.executable, "-c", {program!r}]\n'
        f'each = [{{"I": str(i)}} for i in range({count})]\n'
        f'sys.exit(local.run(command, each, pathlib.Path({str(folder)!r}), {grace}))'
    )
    return subprocess.Popen(
        [sys.executable, '-c', code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_all_are_heard_and_kept(tmp_path):
    program = 'import os, sys; print("said", os.environ["I"]); print("also", file=sys.stderr)'
    running = started(program, tmp_path)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert sorted(out.splitlines()) == ['[0] also', '[0] said 0', '[1] also', '[1] said 1']
    assert sorted((tmp_path / '1.log').read_text().splitlines()) == ['also', 'said 1']


def test_the_first_failure_ends_the_others(tmp_path):
    """Also one that does not obey; within seconds, and its code is that of the run."""
    program = (
        'import os, signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        'print("ready", flush=True)\n'
        'if os.environ["I"] == "1": time.sleep(0.5); sys.exit(3)\n'
        'time.sleep(600)'
    )
    running = started(program, tmp_path)
    running.communicate(timeout=60)
    assert running.returncode == 3


def test_a_signal_goes_to_all_and_75_comes_back(tmp_path):
    program = (
        'import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n'
        'print("ready", flush=True)\ntime.sleep(600)'
    )
    running = started(program, tmp_path)
    logs = [tmp_path / f'{i}.log' for i in range(2)]
    late = time.monotonic() + 60
    while not all(log.exists() and 'ready' in log.read_text() for log in logs):
        assert time.monotonic() < late
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 75


def test_skypilot_reads_the_task_and_refuses_a_misspelled_one(capsys, tmp_path):
    """Where SkyPilot is installed."""
    sky = pytest.importorskip('sky')
    text = dry(skypilot.main, capsys, '--bucket=gs://mine', '--nodes=2')

    def read(**changes):
        tree = yaml.safe_load(text)
        del tree['file_mounts']  # it would ask the cloud for the bucket
        tree['resources'] |= changes
        return sky.Task.from_yaml_config(tree)

    task = read()
    assert task.num_nodes == 2 and next(iter(task.resources)).use_spot
    with pytest.raises(Exception, match='use_spt'):
        read(use_spt=True)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_kubernetes_reads_the_pods_and_refuses_a_misspelled_one(layout, capsys):
    """The Job inside the JobSet, where kubernetes-validate is installed."""
    validate = pytest.importorskip('kubernetes_validate')
    found = yaml.safe_load(dry(gke.main, capsys, '--image=i', '--bucket=b', *LAYOUTS[layout]))
    spec = found['spec']['replicatedJobs'][0]['template']['spec']
    job = {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': 'a'}, 'spec': spec}
    validate.validate(job, '1.30', strict=True)
    spec['template']['spec']['containers'][0]['resorces'] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(job, '1.30', strict=True)


def closed(schema):
    """A schema of Kubernetes that refuses unknown fields, as its server does for kubectl apply."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if 'properties' in found and not found.get('x-kubernetes-preserve-unknown-fields'):
        found.setdefault('additionalProperties', False)
    return found


@pytest.fixture(scope='module')
def faults():
    """tree of a JobSet -> what JobSet's own definition has against it."""
    jsonschema = pytest.importorskip('jsonschema')
    place = os.environ.get('SSLJAX_JOBSET_CRD')
    if not place:
        pytest.skip('SSLJAX_JOBSET_CRD names no definition of JobSet (launch/README.md)')
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # 20,000 lines
    versions = yaml.load(Path(place).read_text(), loader)['spec']['versions']
    ours = next(one for one in versions if one['name'] == 'v1alpha2')
    judge = jsonschema.Draft202012Validator(closed(ours['schema']['openAPIV3Schema']))
    return lambda tree: [f'{one.json_path}: {one.message}' for one in judge.iter_errors(tree)]


@pytest.mark.parametrize('layout', LAYOUTS)
def test_jobset_reads_what_is_its_own(layout, faults, capsys):
    """Where JobSet's definition is: this covers the fields outside the Job, too."""
    text = dry(gke.main, capsys, '--image=i', '--bucket=b', *LAYOUTS[layout])
    assert faults(yaml.safe_load(text)) == []


@pytest.mark.parametrize(
    'right, wrong',
    [
        ('replicatedJobs:', 'replicatedJob:'),
        ('parallelism:', 'paralelism:'),
        ('restartPolicy:', 'restartPolicies:'),
        ('maxRestarts:', 'maxRestart:'),
        ('onJobFailureReasons:', 'onJobFailureReason:'),
        ('action: RestartJobSetAnd', 'action: RestartJobsetAnd'),
        ('replicas: 1', 'replicas: one'),
        ('- name: workers', '- label: workers'),
    ],
)
def test_jobset_refuses_a_misspelled_one(right, wrong, faults, capsys):
    text = dry(gke.main, capsys, '--image=i', '--bucket=b', '--nodes=2')
    assert text.count(right) == 1
    found = faults(yaml.safe_load(text.replace(right, wrong)))
    word = wrong.replace(':', '').removeprefix('- ').split()
    assert any(word[-1] in one or word[0] in one for one in found)
