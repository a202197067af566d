"""What a program may set for its whole process, and a library may not."""

from __future__ import annotations

import gc
import sys

# Rows on their way are many small objects that live until they are written, and hardly
# ever a cycle: looking at them every 700 costs a tenth of what is done for a row.
_COLLECTION_THRESHOLDS = (50_000, 20, 20)
# While a thread computes, the event loop gets the interpreter back only when this time
# is over, and gives it away at every look at a socket.
_SWITCH_INTERVAL_S = 0.0005


def suit_streaming() -> None:
    """Collect garbage rarely, and let threads take turns often.

    For services that embed the library as well, if nothing in them minds.
    """
    gc.set_threshold(*_COLLECTION_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
