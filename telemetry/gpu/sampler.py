"""The sampler: reads the chain while a prompt runs, and sleeps without a timer while none does.

ComfyUI's executing thread tells it that a prompt began or ended: one append and the waking of a thread, twice a prompt.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from ..process.problems import Problems
from ..process.settings import ServerSettings
from .amd_smi import AmdSmi
from .chain import Chain
from .host_memory import HostMemory
from .merging import Snapshot
from .nvml import Nvml
from .reading import Source
from .session import Session
from .settings import SamplerSettings
from .sysfs import Sysfs
from .timed_calls import HungError
from .torch_devices import HostDevices, TorchDevices

BUSY_SHARE = 0.05
"""The most of its time that the sampler spends reading: where a reading is slow, the next one comes later."""
LONGEST_REST = 10
"""How many intervals the next reading is put off by at most, however slow the last one was."""
FRESH_SECONDS = 0.05
"""A reading that is younger is as good as a new one."""
LIVE_WAIT_SECONDS, READ_WAIT_SECONDS = 3.0, 30.0
CPU_SECONDS = 0.1
"""How long the processor is looked at where nobody has looked lately."""


def sources_of(names: Sequence[str], host: HostDevices) -> list[Source]:
    """The sources with these names, not yet open."""
    makers: dict[str, Callable[[], Source]] = {
        "nvml": Nvml,
        "amdsmi": AmdSmi,
        "sysfs": Sysfs,
        "torch": lambda: TorchDevices(host),
        "psutil": HostMemory,
    }
    return [makers[name]() for name in names]


class ModelCounts:
    """How many models ComfyUI holds loaded, and how often one has left since this process began."""

    def __init__(self) -> None:
        self.loaded: int | None = None
        """Null until ComfyUI has said."""
        self.swaps = 0
        self._before: frozenset[int] = frozenset()

    def take(self, now: frozenset[int] | None) -> None:
        """Take note of the models that are loaded now."""
        if now is None:
            return
        self.swaps += len(self._before - now)
        self.loaded, self._before = len(now), now


class Sampler:
    """One thread, one chain. `begin` and `end` may be called by any thread, and return at once."""

    def __init__(self, chain: Chain, settings: SamplerSettings, problems: Problems) -> None:
        self.chain = chain
        self.settings = settings
        self.models = ModelCounts()
        self.wakes = 0
        """How often the thread has woken up."""
        self._problems = problems
        self._bell = threading.Event()
        self._waiting: deque[Session] = deque()
        self._session: Session | None = None
        """The newest prompt's."""
        self._last: Snapshot | None = None
        self._unread = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="run-recorder-sampler", daemon=True)

    @property
    def is_on(self) -> bool:
        """False where the settings name no source."""
        return bool(self.settings.sources)

    def start(self) -> None:
        """Start the thread: it opens the sources, and sleeps."""
        if self.is_on:
            self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread."""
        self._stopping = True
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    # ------------------------------------------------------------ prompts

    def begin(self, prompt_id: str, mono: float) -> Session:
        """A prompt has started; ends the one before, if nobody said so. `mono` is on `time.perf_counter`."""
        self.end(mono)
        longest = max(1.0, 5 * self.settings.interval_seconds)
        session = Session(prompt_id, mono, longest, is_on=self.is_on)
        if self.is_on:
            self._session = session
            self._waiting.append(session)
            self._bell.set()
        return session

    def end(self, mono: float) -> None:
        """The prompt that runs has ended. May be called twice."""
        session, self._session = self._session, None
        if session is not None and session.ended is None:
            session.ended = mono
            self._bell.set()

    @property
    def is_sampling(self) -> bool:
        """True while a prompt runs."""
        return self._session is not None

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        self._read()
        while not self._stopping:
            self._bell.wait()
            self.wakes += 1
            self._bell.clear()
            while self._waiting and not self._stopping:
                self._follow(self._waiting.popleft())

    def _follow(self, session: Session) -> None:
        """Read until the prompt has ended, and once more then."""
        due = time.perf_counter()
        last = self._last
        if last is not None and 0 <= session.started - last.at <= FRESH_SECONDS:
            self._take(session, last)
            due += self.settings.interval_seconds
            self._sleep_until(due, session)
        while not self._stopping:
            ended, began = session.ended, time.perf_counter()
            self._take(session, self._read())
            if ended is not None:
                break
            now = time.perf_counter()
            rest = min((now - began) * (1 / BUSY_SHARE - 1), LONGEST_REST * self.settings.interval_seconds)
            due = max(due + self.settings.interval_seconds, now + rest)
            self._sleep_until(due, session)
        session.complete.set()

    def _sleep_until(self, due: float, session: Session) -> None:
        while session.ended is None and not self._stopping:
            left = due - time.perf_counter()
            if left <= 0:
                return
            self._bell.wait(left)
            self.wakes += 1
            self._bell.clear()

    def _take(self, session: Session, snapshot: Snapshot | None) -> None:
        if snapshot is None:
            return
        try:
            session.add(snapshot, self.chain.trouble())
        except Exception as error:  # noqa: BLE001  the thread must live
            hint = "a reading could not be taken into a prompt's figures"
            self._problems.report("sampler reading", hint, error, passing=True)

    def _read(self, wait_seconds: float = READ_WAIT_SECONDS) -> Snapshot | None:
        try:
            snapshot = self.chain.read(wait_seconds)
            self.models.take(snapshot.loaded_models)
            self._last = snapshot
        except HungError:
            return None
        except Exception as error:  # noqa: BLE001  the thread must live
            self._problems.report("sampler", "figures of GPU and memory can't be read", error)
            self._unread = True
            return None
        if self._unread:
            self._unread = False
            self._problems.solved("sampler")
        return snapshot

    # ------------------------------------------------------------ questions

    def now(self, newest: bool = False) -> Snapshot | None:
        """What is known now, or was a moment ago. Null where nothing can be read, or not in 3 s.

        While a prompt runs the sampler's last reading is that, unless the `newest` is asked for; else one is made here.
        """
        if not self.is_on:
            return None
        age = 2 * self.settings.interval_seconds if self.is_sampling else FRESH_SECONDS
        last = self._last
        if not newest and last is not None and time.perf_counter() - last.at <= age and not _lacks_processor(last):
            return last
        last = self._read(LIVE_WAIT_SECONDS)
        if not newest and last is not None and _lacks_processor(last):
            time.sleep(CPU_SECONDS)
            last = self._read(LIVE_WAIT_SECONDS)
        return last

    @property
    def source(self) -> str | None:
        """The sources of the last reading; null before the first, and where there is none."""
        return self._last.source if self._last is not None else None

    def notes(self) -> list[str]:
        """What is not as it could be with the sources that this machine has."""
        return [f"{name}: {why}" for name, why in self.chain.trouble().items()]


def _lacks_processor(snapshot: Snapshot) -> bool:
    """Whether the processor's share is not known, since nobody had looked just before."""
    return snapshot.system is not None and snapshot.system.cpu_percent is None


def make_sampler(host: HostDevices, problems: Problems, given: ServerSettings) -> Sampler:
    """The sampler that the settings ask for."""
    settings = SamplerSettings.of(given)
    return Sampler(Chain(sources_of(settings.sources, host)), settings, problems)
