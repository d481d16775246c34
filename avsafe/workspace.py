"""Everything of one state folder, opened together: policy, keys, registry, ledger.

The gate works in a Workspace. Opening one makes what is missing (development keys included, with a
warning) and settles what a crash left behind. ``verify`` only reads, and opens a Lookup instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avsafe import home as home_
from avsafe.home import Home

if TYPE_CHECKING:
    from avsafe.ledger import Ledger
    from avsafe.policy import Policy
    from avsafe.provenance.signer import Signer
    from avsafe.registry import Registry

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """What the gate needs. ``daily_quota`` is releases per user in 24 hours."""

    home: Home
    policy: Policy
    registry: Registry
    ledger: Ledger
    signer: Signer
    anchors: str
    watermark_key: bytes = field(repr=False)
    timestamp_url: str | None = None
    daily_quota: int = 1000


@contextmanager
def open_workspace(
    home: Home | None = None,
    *,
    signer: Signer | None = None,
    timestamp_url: str | None = None,
    daily_quota: int = 1000,
) -> Iterator[Workspace]:
    """Open (and on first use make) a state folder.

    ``signer`` replaces the keys of the folder, for example by a CallbackSigner that asks an HSM.
    Raises PolicyError when the team's policy does not load, LedgerError when the ledger is broken.

    >>> import tempfile
    >>> from pathlib import Path
    >>> with open_workspace(Home(Path(tempfile.mkdtemp()))) as workspace:
    ...     workspace.ledger.orphans()
    []
    """
    from avsafe.ledger import Ledger
    from avsafe.policy import Policy
    from avsafe.provenance import keys
    from avsafe.registry import Registry
    from avsafe.staging import recover
    from avsafe.watermark import keyring

    home = (home or Home.default()).ensure()
    policy = Policy.load(home.policy)
    signer = signer or keys.load_signer(home.keys)
    with Registry.open(home.database) as registry, Ledger.open(home.log, home.keys) as ledger:
        for sentence in recover(home, registry, ledger):
            _log.warning("recovered after a crash: %s", sentence)
        yield Workspace(
            home=home,
            policy=policy,
            registry=registry,
            ledger=ledger,
            signer=signer,
            anchors=keys.trust_anchors(home.keys),
            watermark_key=keyring.current(home.keys),
            timestamp_url=timestamp_url,
            daily_quota=daily_quota,
        )


@dataclass(frozen=True)
class Lookup:
    """What verification may consult; reads only, makes nothing."""

    home: Home

    @property
    def anchors(self) -> str:
        """PEM of the trusted roots: our own and those the user added."""
        from avsafe.provenance import keys

        return keys.trust_anchors(self.home.keys)

    @property
    def own_anchors(self) -> str:
        """PEM of those that are this machine's."""
        from avsafe.provenance import keys

        return keys.own_anchors(self.home.keys)

    @property
    def watermark_keys(self) -> tuple[bytes, ...]:
        """The newest first."""
        from avsafe.watermark import keyring

        return keyring.ring(self.home.keys)

    @contextmanager
    def registry(self) -> Iterator[Registry | None]:
        if not home_.begun(self.home.database):
            yield None
            return
        from avsafe.registry import Registry

        if not Registry.exists(self.home.database):
            yield None
            return
        with Registry.open(self.home.database, index=self.home.index) as registry:
            yield registry
