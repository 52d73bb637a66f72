"""What makes two plays one."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from music import names


def listen_id(user_id: str, played_at: datetime, *, track_id: str = "", track_name: str = "", artist: str = "") -> str:
    """The time of the play in UTC, to the microsecond, and who played what: it sorts by time.

    What was played is the track's id, or the names of track and artist, folded.
    """
    what = ["id", track_id] if track_id else ["name", names.fold(track_name), names.fold(artist)]
    hashed = hashlib.blake2b("\0".join([user_id, *what]).encode(errors="replace"), digest_size=8).hexdigest()
    return f"{played_at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{hashed}"
