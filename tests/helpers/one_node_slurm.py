"""A SLURM of one node: daemons of one user in a temporary folder, on free ports.

It says that it has more processors and memory than the machine has, since jobs of tests are small.
It has no database of accounts, so that a stand-in for `sacct` asks `squeue`.
"""

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "srun")
_SECONDS = 30

_CONF = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
NodeName={host} NodeAddr={address} CPUs=8 RealMemory=16000
PartitionName=all Nodes=ALL Default=YES
"""
_SACCT = """\
#!/bin/sh
echo 'JobID|State|NodeList'
exec squeue --noheader --states=all --array --format='%i|%T|%N'
"""


def missing_programs():
    """Those programs of SLURM and munge that the machine does not have."""
    return [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]


def _search_path():
    # where the daemons lie, which is not on the path of every user.
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _until(is_so, what):
    end = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < end, f"not within {_SECONDS} s: {what()}"
        time.sleep(0.1)


class Slurm:
    """The commands of a running SLURM; `environment` is what its clients need."""

    def __init__(self, folder):
        self.folder = folder
        path = f"{folder}:{_search_path()}"
        self.environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons = []

    def say(self, *words, check=True, **options):
        """What a command prints."""
        ended = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, **options
        )
        assert ended.returncode == 0 or not check, ended.stderr
        return ended.stdout.strip()

    def states(self, job):
        """Number of a task within an array -> its state, or the reason why it waits."""
        lines = self.say(
            "squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T %r"
        ).splitlines()
        told = (line.split() for line in lines)
        return {name: reason if state == "PENDING" else state for name, state, reason in told}

    def start(self):
        """Begin the daemons, one after the other, and wait for the node."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "key").write_bytes(os.urandom(128))
        (self.folder / "key").chmod(0o600)
        (self.folder / "sacct").write_text(_SACCT)
        (self.folder / "sacct").chmod(0o755)
        (self.folder / "slurm.conf").write_text(_conf(self.folder))
        of_munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
        # forced, since no other user may enter the folder.
        words = [f"--{option}={self.folder}/{name}" for option, name in of_munge.items()]
        self._begin("munged", "--foreground", "--force", "--num-threads=2", *words)
        _until((self.folder / "socket").exists, self._logs)
        self._begin("slurmctld", "-D")
        self._begin("slurmd", "-D")
        _until(lambda: self.say("sinfo", "-h", "-o", "%t", check=False) == "idle", self._logs)

    def _begin(self, *words):
        with (self.folder / f"{words[0]}.log").open("w") as log:
            self._daemons.append(
                subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)
            )

    def _logs(self):
        """What the daemons said last."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text()[-1000:]}" for log in logs)

    def stop(self):
        """End all jobs, then the daemons, the last one first."""
        try:
            if len(self._daemons) == 3:
                self.say("scancel", "--user", getpass.getuser(), check=False)
                _until(lambda: not self.say("squeue", "-h", check=False), self._logs)
        finally:
            for daemon in reversed(self._daemons):
                daemon.terminate()
                try:
                    daemon.wait(_SECONDS)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()

    def processes(self):
        """Names of the processes that still know this SLURM from their environment."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found.append((process / "comm").read_text().strip())
            except OSError:
                # it has ended, or is another user's.
                continue
        return found


def _conf(folder):
    host = socket.gethostname().split(".")[0]
    # daemons and srun listen on the address of the name of the machine alone, whatever it is.
    address = _address(host)
    with socket.socket() as first, socket.socket() as second:
        first.bind((address, 0))
        second.bind((address, 0))
        ports = [first.getsockname()[1], second.getsockname()[1]]
    return _CONF.format(
        host=host, address=address, ports=ports, user=getpass.getuser(), folder=folder
    )


def _address(host):
    try:
        return socket.gethostbyname(host)
    except socket.gaierror:
        return "127.0.0.1"


@contextmanager
def running(folder):
    """A SLURM in an empty folder, of which no process is left at the end."""
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
    assert not slurm.processes()
