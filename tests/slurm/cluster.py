"""A real Slurm on this machine: a controller and two nodes with one stand-in GPU each.

Where slurmdbd is installed, it keeps accounts, which sacct reads, in a database of its own.
Everything but two links in /etc/slurm lies in one folder. Nothing here knows of tokentrails.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ETC = Path("/etc/slurm")
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CONTROL = {"slurmctld", "slurmdbd"}
ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacct")
NODES = ("n1", "n2")
CPUS, MEMORY_MB = 16, 16_000
"""What each node says that it has; Slurm believes it (config_overrides)."""

MANY = 3_600
"""Seconds for which the controller remembers jobs that have ended."""


LIVE = ("PENDING", "RUNNING", "COMPLETING")


class Job(NamedTuple):
    """What the controller says of a job. Times are seconds since 1970, None for what is to come."""

    number: int
    rule: str
    wildcards: str
    state: str
    node: str
    gpus: int
    cpus: int
    memory_mb: int
    minutes: int
    start: float | None
    end: float | None


def why_not() -> str | None:
    """Why there can be no cluster here; None if there can."""
    if os.geteuid() != 0:
        return "starting Slurm's daemons takes root"
    missing = [name for name in NEEDED if _found(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    for name in ("slurm.conf", "gres.conf"):
        file = ETC / name
        if file.exists() and not file.is_symlink():
            return f"{file} belongs to a cluster that this machine is part of"
    return None


def keeps_accounts() -> bool:
    """Whether clusters here have an accounting database."""
    return all(map(_found, ACCOUNTING))


class Cluster:
    """A running cluster; `stop` ends it.

    Parameters
    ----------
    folder: for its files, logs and sockets; empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # munged insists
        (folder / "state").mkdir()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._write_configuration()
        try:
            self._start_munge()
            if keeps_accounts():
                self._start_database()
                self._start_accounting()
            self._start("slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf"))
            for node in NODES:
                self.start_node(node)
            wait_for(lambda: self.idle() == set(NODES), "the nodes to be idle", self._logs)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all daemons, and the steps that nodes still run."""
        for name in reversed(list(self._processes)):
            self._end(name)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)

    def stop_control(self) -> None:
        """As when the machine of the controller and of the accounts goes down: jobs run on."""
        for name in CONTROL & self._processes.keys():
            self._end(name)

    def start_control(self) -> None:
        if keeps_accounts():
            self._start_accounting()
        self._start("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))

    def start_node(self, node: str) -> None:
        (self.folder / node).mkdir(exist_ok=True)
        self._start(f"slurmd-{node}", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"))

    def set_down(self, node: str) -> None:
        """What an operator, or the controller itself, does with a node that is lost."""
        self.say("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def idle(self) -> set[str]:
        """Nodes that take jobs and have none."""
        listing = self.say("sinfo", "--noheader", "--Node", "--format=%N %T")
        return {line.split()[0] for line in listing.splitlines() if line.split()[1:] == ["idle"]}

    def jobs(self) -> list[Job]:
        """All jobs since the cluster began, in the order of their numbers."""
        listing = self.say("scontrol", "--oneliner", "show", "jobs")
        found = [_job(line) for line in listing.splitlines() if line.startswith("JobId=")]
        return sorted(found)

    def say(self, *command: str) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}{self._logs()}")
        return done.stdout

    def _write_configuration(self) -> None:
        folder = self.folder
        accounts = keeps_accounts()
        *ports, accounting_port = _free_ports(2 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} "
            f"RealMemory={MEMORY_MB} Gres=gpu:1"
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        (folder / "slurm.conf").write_text(
            f"""\
ClusterName=tokentrails
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/{"slurmdbd" if accounts else "none"}
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
ReturnToService=2
MinJobAge={MANY}
JobRequeue=0
EnforcePartLimits=ALL
KillWait=2
SlurmdTimeout=30
SchedulerParameters=sched_min_interval=0,sched_interval=1,bf_interval=1,batch_sched_delay=0
{nodes}
PartitionName=all Nodes={",".join(NODES)} Default=YES MaxTime=INFINITE State=UP
"""
        )
        database = folder / "slurmdbd.conf"
        database.write_text(
            f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting_port}
CommunicationParameters=NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""
        )
        database.chmod(0o600)
        devices = "".join(f"NodeName={node} Name=gpu File=/dev/null\n" for node in NODES)
        (folder / "gres.conf").write_text(f"AutoDetect=off\n{devices}")
        ETC.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            # Programs inside a job look here, whatever their environment says.
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(folder / name)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        socket_file = self.folder / "munge.socket"
        files = {"key-file": key, "socket": socket_file}
        files |= {f"{kind}-file": self.folder / f"munge.{kind}" for kind in ("pid", "log", "seed")}
        options = [f"--{option}={file}" for option, file in files.items()]
        self._start("munged", "--foreground", "--force", *options)
        wait_for(socket_file.exists, "munged to listen", self._logs)

    def _start_database(self) -> None:
        data, listening = self.folder / "database", self.folder / "mariadb.socket"
        install = _found("mariadb-install-db")
        as_root = "--auth-root-authentication-method=normal"
        self.say(install, "--no-defaults", "--skip-test-db", as_root, f"--datadir={data}")
        only = ("--user=root", "--skip-networking", f"--socket={listening}")
        self._start("mariadbd", "--no-defaults", f"--datadir={data}", *only)
        wait_for(listening.exists, "mariadbd to listen", self._logs)

    def _start_accounting(self) -> None:
        """Start slurmdbd; it looks for its configuration beside that of Slurm."""
        files = {"SLURM_CONF": "slurm.conf", "MYSQL_UNIX_PORT": "mariadb.socket"}
        self._start("slurmdbd", "-D", **{key: self.folder / name for key, name in files.items()})
        ask = ["sacctmgr", "--noheader", "list", "cluster"]
        wait_for(
            lambda: subprocess.run(ask, capture_output=True).returncode == 0,
            "slurmdbd to answer",
            self._logs,
        )

    def _start(self, name: str, *options: str, **variables: Path) -> None:
        program = _found(name.split("-")[0])
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                [program, *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=os.environ | {name: str(value) for name, value in variables.items()},
            )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _logs(self) -> str:
        """The last lines of all logs, for messages."""
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*.out")]
        return "".join(f"\n--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(logs))


def wait_for(
    happens: Callable[[], object],
    what: str,
    about: Callable[[], str] = str,
    seconds: float = 120,
) -> None:
    """Wait until something is so; AssertionError, with what `about` says, if it never is."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {what}{about()}"
        time.sleep(0.2)


def _job(line: str) -> Job:
    fields = dict(re.findall(r"(?:^| )([\w:/]+)=(\S*)", line))
    tres = dict(pair.split("=") for pair in fields["TRES"].split(",") if "=" in pair)
    # The executor puts the rule and its wildcards into the comment.
    comment = re.fullmatch(r"(?:rule|group)_(.+?)(?:_wildcards_(.*))?", fields.get("Comment", ""))
    return Job(
        number=int(fields["JobId"]),
        rule=comment[1] if comment else "",
        wildcards=(comment[2] or "") if comment else "",
        state=fields["JobState"],
        node=fields["NodeList"].replace("(null)", ""),
        gpus=sum(map(int, re.findall(r"gres:gpu:(\d+)", line))),
        cpus=int(tres.get("cpu", 0)),
        memory_mb=_megabytes(tres.get("mem", "0M")),
        minutes=_minutes(fields["TimeLimit"]),
        start=None if fields["JobState"] == "PENDING" else _seconds(fields["StartTime"]),
        end=None if fields["JobState"] in LIVE else _seconds(fields["EndTime"]),
    )


def _megabytes(text: str) -> int:
    number, unit = re.fullmatch(r"([\d.]+)([MGT]?)", text).groups()
    return round(float(number) * {"": 1, "M": 1, "G": 1024, "T": 1024**2}[unit])


def _minutes(text: str) -> int:
    days, _, clock = text.rpartition("-")
    hours, minutes, _ = map(int, clock.split(":"))
    return (int(days or 0) * 24 + hours) * 60 + minutes


def _seconds(text: str) -> float | None:
    if text in ("Unknown", "None", "N/A"):
        return None
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
