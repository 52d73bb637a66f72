-- The rows for `python -m bench.charts`. :plays is their number, over twelve years: 21.5 % of them are ada's, the rest
-- those of 39 others. Of 10,700 artists and twice as many albums, those are played the less that have a higher number.

SET session_replication_role = replica;

SELECT setseed(0.5);

CREATE TEMPORARY TABLE countries AS
SELECT row_number() OVER () - 1 AS n, split_part(pair, '-', 1) AS country, split_part(pair, '-', 2) AS continent
FROM unnest(ARRAY['US-NA', 'GB-EU', 'DE-EU', 'FR-EU', 'SE-EU', 'JP-AS', 'BR-SA', 'CA-NA', 'NG-AF', 'AU-OC', 'KR-AS',
    'IT-EU', 'ES-EU', 'NL-EU', 'IS-EU', 'NO-EU', 'JM-NA', 'MX-NA', 'AR-SA', 'IN-AS', 'ZA-AF', 'ML-AF', 'HK-AS', 'SG-AS',
    'MT-EU', 'NZ-OC', 'FI-EU', 'DK-EU', 'IE-EU', 'PL-EU', 'TR-AS', 'EG-AF', 'CU-NA', 'CL-SA', 'GH-AF', 'SN-AF', 'BE-EU',
    'AT-EU', 'CH-EU', 'PT-EU']) AS pair;

INSERT INTO music_artist (artist_key, name, plays, spotify_ids, match, how, mbid, country_code, continent_code, area_id,
    city, latitude, longitude, genres, stored_at)
SELECT 'spotify-' || lpad(a::text, 22, '0'), 'Artist ' || a, 0, '[]',
    CASE WHEN found THEN 'found' ELSE 'not_found' END, 'url', CASE WHEN found THEN md5((a / 2)::text)::uuid::text END,
    CASE WHEN found THEN country END, CASE WHEN found THEN continent END, CASE WHEN found THEN md5(country)::uuid::text END,
    CASE WHEN found THEN 'City ' || a % 500 END, CASE WHEN found THEN 50 - a % 80 END, CASE WHEN found THEN a % 90 END,
    CASE WHEN found THEN jsonb_build_array('genre ' || a % 300, 'genre ' || a % 7, 'genre ' || a % 41) ELSE '[]' END, now()
FROM generate_series(0, 10699) AS a JOIN countries ON n = a % 97 % 40, LATERAL (SELECT a % 5 <> 0 AS found) AS known;

INSERT INTO music_artistgenre (artist_id, source, genre, count)
SELECT DISTINCT artist_key, 'musicbrainz', genre, 3
FROM music_artist, LATERAL jsonb_array_elements_text(genres) AS genre;

INSERT INTO music_album (album_id, name, artist_key, plays, genres, stored_at)
SELECT 'album-' || b, 'Album ' || b, 'spotify-' || lpad((b / 2)::text, 22, '0'), 0, '[]', now()
FROM generate_series(0, 21399) AS b;

INSERT INTO music_listener (user_id, client, plays, sources)
SELECT CASE u WHEN 0 THEN 'ada' ELSE 'listener-' || u END, 'user:root', 0, '["spotify-history"]' FROM generate_series(0, 39) AS u;

INSERT INTO music_listen (listen_id, version_at, delivery, position, warnings, stored_at, user_id, played_at, track_name,
    album_id, album, artist_id, artist, ms_played, play_source, artist_key, hour, weekday, is_skip, track_key)
SELECT to_char(at, 'YYYYMMDD"T"HH24MISSUS') || '-' || lpad(to_hex(i), 16, '0'), now(), 1 + i / 2000, i % 2000, '[]', now(),
    CASE WHEN i % 200 < 43 THEN 'ada' ELSE 'listener-' || 1 + i % 39 END, at, 'Track ' || i % 100000,
    'album-' || 2 * a + i % 2, 'Album ' || 2 * a + i % 2, lpad(a::text, 22, '0'), 'Artist ' || a, 180000, 'spotify-history',
    'spotify-' || lpad(a::text, 22, '0'), extract(hour FROM at), extract(isodow FROM at) - 1, false,
    lpad(to_hex(i % 100000), 16, '0')
FROM generate_series(0, :plays - 1) AS i,
    LATERAL (SELECT floor(10700 * power(random(), 8 + 0 * i))::int AS a,
        timestamptz '2014-01-01 00:00+00' + i * (interval '12 years' / :plays) AS at) AS chosen;

INSERT INTO music_artistmonth (user_id, month, artist_key, plays, ms)
SELECT user_id, date_trunc('month', played_at)::date, artist_key, count(*), sum(ms_played)
FROM music_listen GROUP BY 1, 2, 3;

INSERT INTO music_albummonth (user_id, month, album_id, plays, ms)
SELECT user_id, date_trunc('month', played_at)::date, album_id, count(*), sum(ms_played)
FROM music_listen GROUP BY 1, 2, 3;

INSERT INTO music_hourmonth (user_id, month, weekday, hour, plays, ms)
SELECT user_id, date_trunc('month', played_at)::date, weekday, hour, count(*), sum(ms_played)
FROM music_listen GROUP BY 1, 2, 3, 4;

UPDATE music_artist AS artist SET plays = counted.plays
FROM (SELECT artist_key, sum(plays) AS plays FROM music_artistmonth GROUP BY 1) AS counted
WHERE counted.artist_key = artist.artist_key;

UPDATE music_album AS album SET plays = counted.plays
FROM (SELECT album_id, sum(plays) AS plays FROM music_albummonth GROUP BY 1) AS counted
WHERE counted.album_id = album.album_id;

UPDATE music_listener AS listener SET plays = counted.plays
FROM (SELECT user_id, sum(plays) AS plays FROM music_hourmonth GROUP BY 1) AS counted
WHERE counted.user_id = listener.user_id;

SET session_replication_role = origin;

ANALYZE;
