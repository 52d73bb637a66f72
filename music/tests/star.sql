-- A star schema over the tables that export_music writes, as a dbt project has it: places, artists, albums, tracks,
-- genres, users, and the plays between them. `{folder}` is where the tables are.

CREATE OR REPLACE TABLE dim_places AS
SELECT
    area_id,
    continent,
    continent_code,
    COALESCE(country_name, island_name) AS country,
    country_code,
    COALESCE(subdivision_name, state_code) AS subdivision,
    COALESCE(city_name, municipality_name) AS city,
    TRY_CAST(place.lat AS DOUBLE) AS latitude,
    TRY_CAST(place.long AS DOUBLE) AS longitude
FROM read_parquet('{folder}/mbz_area_hierarchy/*.parquet') AS area
LEFT JOIN (
    SELECT params, lat, long FROM read_parquet('{folder}/cities_with_lat_long/*.parquet')
) AS place USING (params);

CREATE OR REPLACE TABLE dim_artists AS
WITH played AS (
    SELECT artist_id, artist_mbid, COALESCE(artist_id, artist_mbid, artist) AS artist_key, MAX(artist) AS name
    FROM read_parquet('{folder}/tracks_played/*.parquet') GROUP BY ALL
),
by_spotify_id AS (
    SELECT * FROM read_parquet('{folder}/mbz_artist_info/*.parquet') WHERE spotify_id <> ''
),
by_mbid AS (
    SELECT * FROM read_parquet('{folder}/mbz_artist_info/*.parquet') QUALIFY ROW_NUMBER() OVER (PARTITION BY id) = 1
)
SELECT
    artist_key,
    ANY_VALUE(COALESCE(spotify.artist_name, known.name, other.name, played.name)) AS artist,
    ANY_VALUE(spotify.artist_popularity) AS popularity,
    ANY_VALUE(COALESCE(known.id, other.id, spotify.artist_mbid)) AS mbid,
    ANY_VALUE(COALESCE(
        known.area_id, known.end_area_id, known.begin_area_id, other.area_id, other.end_area_id, other.begin_area_id
    )) AS area_id,
    ANY_VALUE(COALESCE(known.type, other.type)) AS type,
    ANY_VALUE(TRY_CAST(COALESCE(known.life_span_begin, other.life_span_begin)[:4] AS INTEGER)) AS begin_year
FROM played
LEFT JOIN read_parquet('{folder}/spotify_artists/*.parquet') AS spotify ON spotify.artist_id = played.artist_id
LEFT JOIN by_spotify_id AS known ON known.spotify_id = played.artist_id
LEFT JOIN by_mbid AS other ON played.artist_id IS NULL AND other.id = played.artist_mbid
GROUP BY artist_key;

CREATE OR REPLACE TABLE dim_albums AS
SELECT
    album_id, album_name, album_type, artist_id, label, TRY_CAST(release_date[:4] AS INTEGER) AS year, popularity,
    total_tracks, last_modified
FROM read_parquet('{folder}/spotify_albums/*.parquet');

CREATE OR REPLACE TABLE dim_tracks AS
SELECT COALESCE(track_id, track_name || '/' || COALESCE(artist, '')) AS track_key, MAX(track_name) AS track, MAX(track_isrc) AS isrc,
    MAX(duration_ms) AS duration_ms
FROM read_parquet('{folder}/tracks_played/*.parquet') GROUP BY track_key;

CREATE OR REPLACE TABLE dim_users AS
SELECT DISTINCT user_id FROM read_parquet('{folder}/tracks_played/*.parquet');

CREATE OR REPLACE TABLE bridge_genres AS
SELECT artist_id AS artist_key, genre, 'spotify' AS source, NULL AS votes
FROM read_parquet('{folder}/spotify_artist_genre/*.parquet')
UNION
SELECT COALESCE(artist_spotify_id, artist_mbid), mbz_genre, 'musicbrainz', count_genre_tags
FROM read_parquet('{folder}/mbz_artist_genre/*.parquet')
UNION
SELECT album.album_id, album.genre, 'album', NULL FROM read_parquet('{folder}/spotify_album_genre/*.parquet') AS album;

CREATE OR REPLACE TABLE missing_artists AS
SELECT artist_id, ANY_VALUE(artist) AS artist, MIN(reason) AS reason, MAX(CAST(failed_at AS TIMESTAMPTZ)) AS failed_at
FROM read_parquet('{folder}/mbz_artist_not_found/*.parquet') GROUP BY artist_id;

CREATE OR REPLACE TABLE fact_plays AS
SELECT
    play.user_id,
    play.played_at,
    DATE_TRUNC('month', play.played_at AT TIME ZONE 'UTC') AS month,
    COALESCE(play.track_id, play.track_name || '/' || COALESCE(play.artist, '')) AS track_key,
    COALESCE(play.artist_id, play.artist_mbid, play.artist) AS artist_key,
    play.album_id,
    play.play_source,
    play.duration_ms / 60000.0 AS minutes
FROM read_parquet('{folder}/tracks_played/*.parquet') AS play;

CREATE OR REPLACE VIEW plays AS
SELECT fact.*, track.track, artist.artist, artist.mbid, album.year, place.continent, place.country_code, place.country,
    place.city, place.latitude, place.longitude
FROM fact_plays AS fact
JOIN dim_users USING (user_id)
JOIN dim_tracks AS track USING (track_key)
LEFT JOIN dim_artists AS artist USING (artist_key)
LEFT JOIN dim_albums AS album USING (album_id)
LEFT JOIN dim_places AS place USING (area_id);
