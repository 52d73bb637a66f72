"""What follows from answers about areas and cities: where areas lie, and so the artists who are from there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import Q

from enrichment import lookups
from enrichment.lookups.models import Lookup
from enrichment.statements import AT_ONCE, batched, database_now, lock
from music.geography import areas, places
from music.geography.areas import Hierarchy
from music.geography.places import Named
from music.models import Area, Artist, City, Placed
from music.names import fold
from music.providers import musicbrainz, openweather
from music.providers import places as geonames
from music.steps import Ask, openweather_is_on

PERSON = "person"
DESCRIBED = ("name", "sort_name", "type", "ended", "kept")
COMPUTED = (
    *("is_complete", "levels", "country_code", "continent_code", "subdivision_code", "state_code", "historical"),
    "params",
)
PLACED = ("place", "place_source", "place_how", "precision", "candidates", "city", "latitude", "longitude", "params")
CITY_STATE = "city state"
"""`Area.precision`."""
LOAD_LOCK = 0x6D75736963  # any number that nobody else uses


# Areas.


def areas_answered(answered: Sequence[Lookup]) -> list[Ask]:
    """Keeps these areas, and computes those that lie in them, as far as all that they are part of is known."""
    kept = {lookup.key: each for lookup in answered if (each := _kept(lookup)) is not None}
    before = {area.pk: area for area in lock(Area, kept)}
    changed = {key: each for key, each in kept.items() if key not in before or before[key].kept != each}
    if not changed:  # but artists may have come since who are from there
        copy_to_artists([area for area in before.values() if area.is_complete])
        return [] if all(area.is_complete for area in before.values()) else _compute(_incomplete(kept), answered)
    rows = [_row(key, each) for key, each in sorted(changed.items())]
    changes = [*DESCRIBED, "stored_at"]
    Area.objects.bulk_create(
        rows, batch_size=AT_ONCE, update_conflicts=True, unique_fields=["area_id"], update_fields=changes
    )
    was_known = any(before[key].kept is not None for key in changed if key in before)
    return _compute(Area.objects.exclude(kept=None) if was_known else _incomplete(changed), answered)


def _incomplete(keys: Collection[str]) -> Any:
    return Area.objects.exclude(kept=None).filter(Q(is_complete=False) | Q(pk__in=list(keys)))


def _kept(lookup: Lookup) -> dict[str, Any] | None:
    """An area that MusicBrainz does not have is part of nothing. None: there is nothing new."""
    answer: Any = lookup.answer
    if lookup.status == Lookup.Status.FOUND:
        return dict(answer) if not lookup.gone_at else None
    if lookup.status != Lookup.Status.NOT_FOUND:
        return None
    return {
        "id": lookup.key,
        "name": "",
        "sort_name": "",
        "type": "",
        "ended": False,
        **{name: [] for name in ("countries", "subdivisions", "parents", "geonames")},
    }


def _row(key: str, kept: Mapping[str, Any]) -> Area:
    described = {name: kept[name] for name in ("name", "sort_name", "type", "ended")}
    return Area(area_id=key, kept=dict(kept), **described, stored_at=database_now())


def _compute(wanted: Any, answered: Sequence[Lookup]) -> list[Ask]:
    """Asks for the areas that are missing above those that artists are from, and computes those above which none is.

    Not above these again: however many levels there are, an artist leads to areas.MAX_AREAS questions at most.
    """
    rows = {area.pk: area for area in wanted}
    known, _ = read_above({pk: areas.Area.of(area.kept or {}) for pk, area in rows.items()})
    missing = {each for pk in _with_artists(rows) for each in areas.missing(pk, known)}
    turn = min((lookup.turn for lookup in answered), default=0)
    after = answered[0] if answered else None
    asks = [Ask(musicbrainz.NAME, musicbrainz.AREA, key, turn, after=after) for key in sorted(missing)]
    complete = [area for pk, area in sorted(rows.items()) if not set(areas.missing(pk, known))]
    changed = [area for area in complete if _set_hierarchy(area, areas.locate(area.pk, known))]
    Area.objects.bulk_update(changed, [*COMPUTED, "stored_at"], batch_size=AT_ONCE)
    copy_to_artists(changed)
    settled = Lookup.objects.filter(provider=geonames.NAME, key__in=[area.pk for area in changed])
    lookups.ask_again(settled.exclude(status=Lookup.Status.OPEN), geonames.NAME)
    return asks + [Ask(geonames.NAME, geonames.CITY, area.pk, turn) for area in changed]


def _with_artists(keys: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for some in batched(sorted(keys), AT_ONCE):
        found |= set(map(str, Artist.objects.filter(area_id__in=some).values_list("area_id", flat=True)))
    return found


def read_above(known: dict[str, areas.Area]) -> tuple[dict[str, areas.Area], set[str]]:
    """With the areas that these are part of, as far as they are stored; and those that are not."""
    start = list(known)
    absent: set[str] = set()
    while unread := {each for key in start for each in areas.missing(key, known)} - absent:
        for some in batched(sorted(unread)):
            found = Area.objects.filter(pk__in=some).exclude(kept=None).values_list("pk", "kept")
            known |= {pk: areas.Area.of(kept or {}) for pk, kept in found}
        absent |= unread - known.keys()
    return known, absent


def chain_of(area: Area) -> list[Named]:
    """The area and those above it, the nearest ones first."""
    known, _ = read_above({area.pk: areas.Area.of(area.kept)} if area.kept else {})
    chain = areas.locate(area.pk, known).chain
    return [Named(each.name, each.type, tuple(each.geonames)) for each in chain]


def _set_hierarchy(area: Area, found: Hierarchy) -> bool:
    """Whether anything has changed."""
    values: dict[str, Any] = {
        "is_complete": True,
        "levels": {
            level: {"id": each.id, "name": each.name, "sort_name": each.sort_name}
            for level, each in found.levels.items()
        },
        "country_code": found.country_code,
        "continent_code": found.continent_code,
        "subdivision_code": found.subdivision_code,
        "state_code": found.state_code,
        "historical": found.historical,
        "params": found.params or (area.params if area.precision == CITY_STATE else None),
    }
    is_other = any(getattr(area, name) != value for name, value in values.items())
    for name, value in values.items():
        setattr(area, name, value)
    area.stored_at = database_now()
    return is_other


# Cities.


def cities_answered(answered: Sequence[Lookup]) -> list[Ask]:
    by_key = {lookup.key: lookup for lookup in answered}
    rows = lock(Area, by_key)
    if any(_geoname_id(lookup) for lookup in answered):
        load_cities()
    asks = []
    for area in rows:
        lookup = by_key[area.pk]
        _place(area, lookup)
        if area.place == Placed.NOT_FOUND and area.params and openweather_is_on() and not lookup.is_chosen:
            asks.append(Ask(openweather.NAME, openweather.GEOCODE, area.params, lookup.turn, after=lookup))
    _save_places(rows)
    return asks


def _place(area: Area, lookup: Lookup) -> None:
    answer: Any = lookup.answer or {}
    number = _geoname_id(lookup)
    if lookup.status == Lookup.Status.NOT_FOUND and area.place_source == openweather.NAME:
        return  # which has found it since
    area.place = Placed(lookup.status)
    if lookup.status == Lookup.Status.FOUND and number is None:
        area.place = Placed.NO_CITY
    area.place_source = PERSON if lookup.is_chosen else "geonames" if number else ""
    area.place_how, area.precision = answer.get("how") or "", answer.get("precision") or ""
    area.candidates = list(lookup.candidates)
    area.city_id = number
    area.latitude, area.longitude = (answer.get(name) if number else None for name in ("latitude", "longitude"))
    if not area.levels.keys() & {"city", "municipality"}:
        area.params = f"{area.name},{area.country_code}" if area.precision == CITY_STATE else None


def _geoname_id(lookup: Lookup) -> int | None:
    answer: Any = lookup.answer
    return answer["geoname_id"] if lookup.status == Lookup.Status.FOUND else None


def geocoded(answered: Sequence[Lookup]) -> list[Ask]:
    """What OpenWeather says of cities that GeoNames' file does not have."""
    by_params = {lookup.key: lookup for lookup in answered}
    of_these = Area.objects.filter(params__in=list(by_params)).values_list("pk", flat=True)
    rows = lock(Area, list(of_these))
    placed = [area for area in rows if area.place_source in ("", openweather.NAME) and area.place != Placed.NO_CITY]
    for area in placed:
        lookup = by_params[str(area.params)]
        answer: Any = lookup.answer if lookup.status == Lookup.Status.FOUND else {}
        if lookup.status not in (Lookup.Status.OPEN, Lookup.Status.FAILED):
            area.place = Placed(lookup.status)
        area.place_source = openweather.NAME if answer else ""
        area.place_how, area.precision = ("name", "city") if answer else ("", "")
        area.candidates = list(lookup.candidates)
        area.latitude, area.longitude = answer.get("latitude"), answer.get("longitude")
    _save_places(placed)
    return []


def _save_places(rows: Sequence[Area]) -> None:
    for area in rows:
        area.stored_at = database_now()
    Area.objects.bulk_update(rows, [*PLACED, "stored_at"], batch_size=AT_ONCE)
    copy_to_artists(rows)


def load_cities() -> None:
    """Fills the table from the file, once."""
    if City.objects.exists():
        return
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # others who need it wait for whoever is first
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOAD_LOCK])
        if City.objects.exists():
            return
    cities = (_columns(city) for country in places.COUNTRIES for city in places.cities_of(country))
    names = [connection.ops.quote_name(field.attname) for field in City._meta.concrete_fields]
    table = f"{connection.ops.quote_name(City._meta.db_table)} ({', '.join(names)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for row in cities:
                    copy.write_row(row)
        else:
            values = ", ".join(["%s"] * len(names))
            cursor.executemany(f"INSERT INTO {table} VALUES ({values})", list(cities))  # noqa: S608 (names are the model's)


def _columns(city: places.City) -> tuple[Any, ...]:
    """In the order of the model's."""
    others = f"|{'|'.join(sorted(city.names))}|" if city.names else ""
    names, point = (city.id, city.name, fold(city.name)), (city.latitude, city.longitude)
    return (*names, city.country, city.state, *point, city.population, others)


# Artists.


def place_of(area: Area | None) -> dict[str, Any]:
    """Columns of an artist who is from this area; None: it is not known where that is."""
    if area is None:
        return dict.fromkeys(("country_code", "continent_code", "city", "latitude", "longitude"))
    names = (area.levels.get(level, {}).get("name") for level in ("city", "municipality"))
    return {
        "country_code": area.country_code,
        "continent_code": area.continent_code,
        "city": next((name for name in names if name), None) or (area.city.name if area.city else None),
        "latitude": area.latitude,
        "longitude": area.longitude,
    }


def copy_to_artists(rows: Sequence[Area]) -> None:
    """What is known of these areas, to the artists who are from there."""
    with_artists = Artist.objects.filter(area_id__in=[area.pk for area in rows]).values_list("pk", "area_id")
    of_area: dict[str, list[str]] = {}
    for pk, area_id in with_artists.order_by("pk"):
        of_area.setdefault(str(area_id), []).append(pk)
    lock(Artist, [pk for pks in of_area.values() for pk in pks], read=False)
    for area in rows:
        if pks := of_area.get(area.pk):
            Artist.objects.filter(pk__in=pks).update(**place_of(area), stored_at=database_now())


HANDLERS: Mapping[tuple[str, str], Callable[[Sequence[Lookup]], list[Ask]]] = {
    (musicbrainz.NAME, musicbrainz.AREA): areas_answered,
    (geonames.NAME, geonames.CITY): cities_answered,
    (openweather.NAME, openweather.GEOCODE): geocoded,
}
