"""One archive of one moment of a state folder, and back: see docs/backup.md.

``back_up`` runs beside a service that writes; ``restore`` gives all or nothing, to either engine.
"""

from avsafe.backup.making import BackedUp, back_up
from avsafe.backup.place import finish
from avsafe.backup.restoring import Restored, restore

__all__ = ["BackedUp", "Restored", "back_up", "finish", "restore"]
