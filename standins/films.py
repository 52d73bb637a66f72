"""The films of the demo. Facts only (titles, years, people, countries, runtimes), as Wikidata has them under CC0."""

from standins.tmdb import Film

FILMS: tuple[Film, ...] = (
    Film(603, "The Matrix", "1999-03-31", votes=26500, directors=("Lana Wachowski", "Lilly Wachowski"), runtime=136),
)
