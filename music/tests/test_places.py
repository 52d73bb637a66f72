from __future__ import annotations

import gzip

from music.geography import make_places, places
from music.geography.places import COUNTRIES, DATA, Named


def test_the_files_are_what_the_script_makes() -> None:
    cities, countries = make_places.cities_and_countries()
    assert gzip.decompress((DATA / "cities.tsv.gz").read_bytes()) == cities
    assert (DATA / "countries.tsv").read_bytes() == countries


def test_all_can_be_read() -> None:
    assert len(COUNTRIES) == 252
    assert {country.continent for country in COUNTRIES.values()} == {"AF", "AN", "AS", "EU", "NA", "OC", "SA"}
    found = [city for country in COUNTRIES for city in places.cities_of(country)]
    assert len(found) == 34_006
    assert all(-90 <= city.latitude <= 90 and -180 <= city.longitude <= 180 for city in found)
    assert places.by_id(2655603) == next(city for city in found if city.id == 2655603)
    assert places.by_id(1) is None


def located(area: str, type: str, country: str | None, subdivision: str | None = None, **more: list[int]) -> str:
    place = places.locate([Named(area, type, **more)], country, subdivision)
    return f"{place.city.name}, {place.city.state or place.city.country}" if place.city else place.status


def test_names_of_cities_go_before_other_names() -> None:
    assert located("Wien", "City", "AT") == "Vienna, 09"
    assert located("Kyiv", "City", "UA") == located("Kiev", "City", "UA") == "Kyiv, 12"
    assert located("München", "City", "DE") == "Munich, 02"
    assert located("東京", "City", "JP") == "Tokyo, 40"


def test_only_within_the_state_or_nation() -> None:
    assert located("Boston", "City", "US", "US-MA") == "Boston, MA"
    assert located("Boston", "City", "US", "US-CA") == "not_found"
    assert located("Newport", "City", "GB", "GB-WLS") == "Newport, WLS"
    assert located("Bangor", "City", "GB", "GB-NIR") == "Bangor, NIR"


def test_links() -> None:
    assert located("Whatever", "City", None, geonames=[2655603]) == "Birmingham, ENG"
    assert located("Birmingham", "City", "GB", "GB-ENG", geonames=[1]) == "Birmingham, ENG"
    assert located("Whatever", "Subdivision", "GB", geonames=[2655603]) == "no_city"
    place = places.locate([Named("Brooklyn", "District", [5110302]), Named("New York", "City")], "US", "US-NY")
    assert place.city is not None and (place.city.name, place.precision) == ("Brooklyn", "district")


def test_countries_that_are_cities() -> None:
    assert located("Monaco", "Country", "MC") == "Monaco, MC" or located("Monaco", "Country", "MC").startswith("Monaco")
    assert located("Hong Kong", "Country", "HK").startswith("Hong Kong")
    assert located("United Kingdom", "Country", "GB") == "no_city"
    assert located("Nowhere", "Country", "QQ") == "no_city"


def test_what_is_unknown() -> None:
    assert places.locate([], "GB", None).status == "no_city"
    assert located("Hackney", "District", "GB") == "no_city"
    assert located("Birmingham", "City", None) == "not_found"
    assert located("Birmingham", "City", "QQ") == "not_found"
    assert located("", "City", "GB") == "not_found"
