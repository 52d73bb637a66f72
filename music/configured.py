"""The providers, registered as the settings say."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from django.conf import settings

from enrichment.lookups import Rate, register
from music import questions
from music.pages.demo import stand_in
from music.providers import places
from music.providers.musicbrainz import MusicBrainz
from music.providers.openweather import OpenWeather
from music.providers.spotify import Spotify


def register_all() -> None:
    """By the settings as they are now."""
    spotify = Spotify(
        settings.SPOTIFY_CLIENT_ID,
        settings.SPOTIFY_CLIENT_SECRET,
        settings.SPOTIFY_REFRESH_TOKEN,
        url=settings.SPOTIFY_URL,
        accounts_url=settings.SPOTIFY_ACCOUNTS_URL,
        rate=Rate(*settings.SPOTIFY_RATE),
    )
    musicbrainz = MusicBrainz(
        settings.MUSICBRAINZ_CONTACT, settings.VERSION, settings.MUSICBRAINZ_URL, Rate(*settings.MUSICBRAINZ_RATE)
    )
    openweather = OpenWeather(settings.OPENWEATHER_API_KEY, settings.OPENWEATHER_URL, Rate(*settings.OPENWEATHER_RATE))
    register(
        replace(
            spotify.provider(questions.answered),
            asked_by=questions.asked_by,
            stand_in=partial(stand_in, "Spotify", "SPOTIFY_CLIENT_ID"),
        )
    )
    register(
        replace(
            musicbrainz.provider(questions.answered),
            prepare=questions.prepare,
            asked_by=questions.asked_by,
            alike=questions.of_same_artist,
            stand_in=partial(stand_in, "MusicBrainz", "MUSICBRAINZ_CONTACT"),
        )
    )
    register(replace(places.provider(questions.answered), prepare=questions.prepare_places))
    register(openweather.provider(questions.answered))
