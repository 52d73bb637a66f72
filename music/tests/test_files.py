"""The files in which people have their listening history, uploaded as they are."""

import io
import json
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrichment import previews
from enrichment.models import HeldRecord
from ingestion.files import uploads
from ingestion.models import Delivery, PreviewChunk, PreviewPart, Upload, UploadPreview
from ingestion.payloads import ascii_json
from music.layouts import LAYOUTS
from music.models import Listen
from standins import histories
from standins.histories import Play, make_plays, zipped
from tests.api import api, new_key, post, refusal
from tests.files import csv_of, read_csv, streamed
from tests.records import work_off

pytestmark = pytest.mark.django_db(transaction=True)

READ = [layout for layout in LAYOUTS if layout.read]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(
    (
        *("ts", "ms_played", "spotify_track_uri", "master_metadata_track_name", "endTime", "trackName", "track", "uts"),
        *("played_at", "artists", "album", "context", "uri", "listened_at", "track_metadata", "additional_info"),
        *(
            "mbid_mapping",
            "artist_mbids",
            "duration",
            "isrc",
            "spotify_id",
            "spotify_artist_ids",
            "utc_time",
            "username",
        ),
    )
)
ITEMS = st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=8)


def send(*files: tuple[str, bytes], status: int = 201, key: str | None = None, **fields: str) -> Any:
    """The one upload of a form with these files."""
    form = {"file": [SimpleUploadedFile(name, body) for name, body in files], **fields}
    response = api(key).post("/api/uploads", form)
    assert response.status_code == status, response.content
    answer = response.json()
    if status >= 400:
        return answer["error"]
    [upload] = answer["uploads"]
    return upload


def stored() -> list[Listen]:
    work_off()
    return list(Listen.objects.order_by("played_at"))


def is_play(listen: Listen, play: Play, at: datetime) -> bool:
    found = (listen.played_at, listen.track_name, listen.artist, listen.album)
    return found == (at, play.track, play.artist, play.album)


def seconds(at: datetime) -> datetime:
    return at.replace(microsecond=0)


def test_an_archive_of_the_extended_history() -> None:
    plays = make_plays(60)
    upload = send(
        ("my_spotify_data.zip", zipped(histories.spotify_history(plays, podcasts=7, per_file=40))), user_id="ada"
    )
    assert [part["kind"] for part in upload["parts"]] == ["spotify_history"] * 2
    assert (upload["total"], upload["left_out"], upload["user_id"]) == (60, 7, "ada")
    assert sum(part["total"] + part["left_out"] for part in upload["parts"]) == 67
    assert any("ReadMeFirst" in note for note in upload["file_warnings"])
    assert any("7 rows are left out: podcasts" in note for note in upload["file_warnings"])
    listens = stored()
    assert len(listens) == 60
    for listen, play in zip(listens, plays, strict=True):
        assert is_play(listen, play, seconds(play.at))
        assert (listen.user_id, listen.track_id, listen.ms_played) == ("ada", play.track_id, play.ms_played)
        assert (listen.play_source, listen.duration_ms, listen.artist_id) == ("spotify-history", None, None)


def test_addresses_and_devices_are_never_kept() -> None:
    files = histories.spotify_history(make_plays(5), podcasts=1)
    path = next(iter(files))
    lines = b"\n".join(json.dumps(item).encode() for item in json.loads(files[path]))
    broken = b'{"ts": "2023-01-01T00:00:00Z", "ip_addr": "' + histories.ADDRESS.encode() + b'", '
    send(("history.ndjson", lines + b"\n" + broken), user_id="ada")
    old = send(("endsong_0.json", histories.endsong(make_plays(3))))
    assert old["left_out"] == 0
    work_off()
    bodies = [delivery.content.decode() for delivery in Delivery.objects.all()]
    kept = "".join([*bodies, str(list(Upload.objects.values())), str(list(Listen.objects.values()))])
    assert "Song" in kept
    assert histories.ADDRESS not in kept and histories.DEVICE not in kept
    [held] = HeldRecord.objects.all()
    assert histories.ADDRESS not in held.payload
    assert "Not JSON" in str(held.messages)


def test_older_files_name_their_listener() -> None:
    plays = make_plays(5)
    upload = send(("endsong_0.json", histories.endsong(plays)))
    assert (upload["kind"], upload["user_id"]) == ("spotify_history", None)
    assert {listen.user_id for listen in stored()} == {"demo-listener"}
    named = send(("endsong_0.json", histories.endsong(plays)), user_id="ada")
    assert named["user_id"] == "ada"
    assert {listen.user_id for listen in stored()} == {"demo-listener", "ada"}


def test_the_listener_is_asked_for() -> None:
    error = send(("scrobbles.csv", histories.lastfm(make_plays(3))), status=422)
    assert error["fields"] == {"user_id": ["is required"]}
    assert not Upload.objects.exists()


def test_account_data_has_minutes() -> None:
    plays = make_plays(4)
    upload = send(("my_spotify_data.zip", zipped(histories.spotify_account(plays))), user_id="ada")
    assert [part["kind"] for part in upload["parts"]] == ["spotify_account"]
    assert any("minute" in note for note in upload["file_warnings"])
    listens = stored()
    assert [listen.played_at for listen in listens] == [play.at.replace(second=0, microsecond=0) for play in plays]
    assert {listen.play_source for listen in listens} == {"spotify-account"}


def test_an_answer_of_recently_played() -> None:
    plays = make_plays(6)
    upload = send(("recent.json", histories.recently_played(plays)), user_id="ada")
    assert (upload["kind"], upload["total"], upload["left_out"]) == ("recently_played", 6, 1)
    for listen, play in zip(stored(), plays, strict=True):
        assert is_play(listen, play, play.at.replace(microsecond=123_000))
        assert listen.artist_id == histories.spotify_id("A", play.number // 20)
        assert listen.track_isrc == f"GBDEM23{play.number:05}"
        assert listen.play_source == ("spotify:playlist:demo" if play.number % 2 else "spotify")


def test_pages_of_recently_played_in_lines() -> None:
    first, second = make_plays(6)[:3], make_plays(6)[3:]
    body = b"\n".join(json.dumps(json.loads(histories.recently_played(each))).encode() for each in (first, second))
    upload = send(("recent.ndjson", body), user_id="ada")
    assert (upload["total"], upload["left_out"]) == (6, 2)
    assert len(stored()) == 6


def test_an_export_of_listenbrainz() -> None:
    plays = make_plays(4000, seed=3)[::10]
    files = histories.listenbrainz(plays, username="rob")
    upload = send(("listenbrainz_rob_1751272200.zip", zipped(files)))
    months = {path for path in files if path.startswith("listens/")}
    assert {part["name"] for part in upload["parts"]} == months and len(months) > 1
    assert (upload["total"], upload["left_out"], upload["user_id"]) == (400, 0, "rob")
    assert any("feedback.jsonl (not recognised)" in note for note in upload["file_warnings"])
    listens = stored()
    assert {listen.user_id for listen in listens} == {"rob"}
    for listen, play in zip(listens, sorted(plays, key=lambda play: play.begun), strict=True):
        assert is_play(listen, play, play.begun)
        kind = play.number % 3
        assert listen.track_id == (play.track_id if kind == 0 else None)
        assert listen.artist_mbid == (histories.mbid(play.number // 20) if kind < 2 else None)
        assert listen.duration_ms == (play.ms_played if kind == 0 else play.ms_played // 1000 * 1000)


def test_the_sender_goes_before_the_name_in_the_export() -> None:
    upload = send(("lb.zip", zipped(histories.listenbrainz(make_plays(3)))), user_id="ada")
    assert upload["user_id"] == "ada"
    assert {listen.user_id for listen in stored()} == {"ada"}


def test_the_older_single_file_of_listenbrainz() -> None:
    plays = make_plays(5)
    upload = send(("rob_lb-2023-05-01.json", histories.listenbrainz_json(plays)), user_id="rob")
    assert upload["kind"] == "listenbrainz"
    assert [listen.played_at for listen in stored()] == [seconds(play.begun) for play in plays]


def test_listens_as_the_api_of_listenbrainz_answers() -> None:
    items = [{**histories.listen(play), "user_name": "rob"} for play in make_plays(3)]
    items.append({"playing_now": True, "track_metadata": items[0]["track_metadata"]})
    body = json.dumps({"payload": {"count": 3, "user_id": "rob", "listens": items}}).encode()
    upload = send(("listens.json", body))
    assert (upload["kind"], upload["total"], upload["left_out"]) == ("listenbrainz", 3, 1)
    assert {listen.user_id for listen in stored()} == {"rob"}


def test_a_table_of_lastfm() -> None:
    plays = make_plays(5)
    upload = send(("scrobbles.csv", histories.lastfm(plays)), user_id="ada")
    assert upload["kind"] == "lastfm"
    for listen, play in zip(stored(), plays, strict=True):
        assert is_play(listen, play, seconds(play.begun))
        assert listen.artist_mbid == (histories.mbid(play.number // 20) if play.number % 2 else None)
        assert listen.play_source == "lastfm"


def test_a_table_without_a_header_is_told_which_one_it_needs() -> None:
    plays = make_plays(5)
    body = histories.lastfm(plays, with_header=False)
    for fields in ({}, {"stream": "listens"}):
        error = send(("scrobbles.csv", body), status=422, user_id="ada", **fields)
        assert "artist,album,track,utc_time" in error["message"]
    upload = send(("scrobbles.csv", b"artist,album,track,utc_time\n" + body), user_id="ada")
    assert upload["kind"] == "lastfm"
    assert [listen.played_at for listen in stored()] == [play.begun.replace(second=0, microsecond=0) for play in plays]


def test_what_cannot_be_a_play_becomes_a_dead_letter() -> None:
    rows = [
        dict(zip(histories.LASTFM_HEADER, each, strict=True))
        for each in (
            ("", "yesterday", "A", "", "", "", "One", ""),
            ("1672560000", "", "A", "", "", "", "", ""),
            ("", "", "A", "", "", "", "Playing now", ""),
            ("0", "", "A", "", "", "", "Long ago", ""),
        )
    ]
    key = new_key()
    upload = send(("scrobbles.csv", csv_of(rows)), key=key, user_id="ada")
    assert (upload["total"], upload["left_out"]) == (3, 1)
    [listen] = stored()
    assert listen.played_at == datetime(1970, 1, 1, tzinfo=UTC) and listen.warnings
    rejected = read_csv(streamed(api(key).get(upload["errors_url"])))
    assert [(row["row"], row["played_at"], row["track_name"]) for row in rejected] == [
        ("2", "yesterday", "One"),
        ("3", "2023-01-01T08:00:00.000+00:00", ""),
    ]


def test_a_kind_that_it_is_not_is_refused() -> None:
    error = send(("scrobbles.csv", histories.lastfm(make_plays(2))), status=422, user_id="ada", kind="spotify_history")
    assert "is no spotify_history file" in error["message"]
    other = json.dumps([{"endTime": "2023-01-05 08:00", "podcastName": "x", "msPlayed": 1}]).encode()
    error = send(("history.json", other), status=422, user_id="ada", kind="spotify_account")
    assert "artistName" in error["message"]


def test_the_same_archive_again_is_the_first_upload() -> None:
    body = zipped(histories.spotify_history(make_plays(5), podcasts=1))
    client = api()
    answers = [
        client.post("/api/uploads", {"file": SimpleUploadedFile("a.zip", body), "user_id": "ada"}) for _ in range(2)
    ]
    assert [each.status_code for each in answers] == [201, 200]
    assert answers[0].json()["uploads"][0]["id"] == answers[1].json()["uploads"][0]["id"]


def test_a_dry_run_counts_what_is_left_out() -> None:
    client, path = api(), "/api/uploads?dry_run=true&user_id=ada&name=history.json"
    body = next(iter(histories.spotify_history(make_plays(5), podcasts=2).values()))
    [found] = post(client, path, body).json()["uploads"]
    assert (found["checked"], found["inserted"], found["left_out"]) == (5, 5, 2)
    assert found["rows"][0]["row"] == 2 and found["columns"] == []
    assert not Upload.objects.exists()


def test_a_history_of_podcasts_alone_has_no_records() -> None:
    body = json.dumps([histories.history_item(None)] * 3).encode()
    upload = send(("Streaming_History_Audio_2023_0.json", body))
    assert (upload["total"], upload["left_out"], upload["status"]) == (0, 3, "completed")


def test_a_broken_file_keeps_nothing() -> None:
    body = next(iter(histories.spotify_history(make_plays(5)).values()))
    response = post(api(), "/api/uploads?user_id=ada&name=history.json", body[:-10])
    assert "Not JSON" in refusal(response, 400)["message"]
    assert not Upload.objects.exists() and not Delivery.objects.exists()


def test_a_kept_preview_forgets_the_file(admin_client: Any) -> None:
    body = next(iter(histories.spotify_history(make_plays(5), podcasts=1).values()))
    form = {"file": SimpleUploadedFile("history.json", body), "user_id": "ada", "_preview": "1"}
    response = admin_client.post("/admin/ingestion/upload/add/", form)
    assert response.status_code == 302, response.content
    preview = UploadPreview.objects.get()
    assert preview.rows == 5
    response = admin_client.post(response["Location"], {"_upload": "1"})
    assert response.status_code == 302
    assert not PreviewPart.objects.exists() and not PreviewChunk.objects.exists()
    upload = Upload.objects.get()
    assert upload.left_out == 1
    assert len(stored()) == 5


PLAYS = [
    {"played_at": "2025-01-04T02:55:58Z", "track_name": "Song 1", "artist": "Band"},
    {"played_at": "2025-01-04T03:55:58Z", "track_name": "Song 2", "artist": "Band"},
]


def file_of(plays: list[dict[str, str]], kind: str) -> tuple[str, bytes]:
    if kind == "csv":
        return "plays.csv", csv_of(plays)
    if kind == "ndjson":
        return "plays.ndjson", b"\n".join(json.dumps(play).encode() for play in plays)
    file = io.BytesIO()
    pl.DataFrame(plays).with_columns(pl.col("played_at").str.to_datetime(time_zone="UTC")).write_parquet(file)
    return "plays.parquet", file.getvalue()


KINDS = pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])


@KINDS
def test_the_listener_that_is_named_counts_as_a_field_of_the_file(kind: str, admin_client: Any) -> None:
    name, body = file_of(PLAYS, kind)
    assert "for listens it lacks user_id" in send((name, body), status=422)["message"]
    send((name, body), user_id="ada")
    other = ("more.csv", csv_of([{**PLAYS[0], "track_name": "Song 3"}]))
    files = [SimpleUploadedFile(name, body), SimpleUploadedFile(*other)]
    response = api().post("/api/uploads", {"file": files, "user_id": "rob"})
    assert len(response.json()["uploads"]) == 2
    form = {"file": SimpleUploadedFile(name, body), "user_id": "greta"}
    assert admin_client.post("/admin/ingestion/upload/add/", form).status_code == 302
    assert sorted(listen.user_id for listen in stored()) == ["ada"] * 2 + ["greta"] * 2 + ["rob"] * 3


@KINDS
def test_a_file_of_another_listener_than_the_one_named_is_rejected(kind: str) -> None:
    plays = [{"user_id": "ada", **PLAYS[0]}, {"user_id": "rob", **PLAYS[1]}]
    name, body = file_of(plays, kind)
    error = send((name, body), status=422, user_id="ada")
    assert f"row {2 + (kind == 'csv')} of {name} has rob, and the upload names ada" in error["message"]
    assert list(error["fields"]) == ["user_id"]
    assert not Upload.objects.exists() and not Delivery.objects.exists()
    send(file_of([{**play, "user_id": "ada"} for play in plays], kind), user_id="ada")
    send((name, body))
    assert [listen.user_id for listen in stored()] == ["ada", "ada", "rob"]


def test_columns_are_suggested_by_what_people_call_them() -> None:
    plays = [
        {"user": "ada", "Time Stamp": "x", "ts": "2025-01-04", "Title": "Song", "artist_name": "A", "Album Name": "B"}
    ]
    path = "/api/uploads?dry_run=true&stream=listens&user_id=ada&name=plays.csv"
    [found] = post(api(), path, csv_of([{**plays[0], "artist": "", "duration_ms": ""}])).json()["uploads"]
    suggested = {each["column"]: each["suggestion"] for each in found["columns"] if not each["field"]}
    assert (suggested["ts"], suggested["Title"], suggested["Album Name"]) == ("played_at", "track_name", "album")
    assert suggested["user"] == "user_id"
    [found] = post(api(), path, csv_of([{"duration_ms": "", "artist_name": "A"}])).json()["uploads"]
    assert found["columns"][1]["suggestion"] == "artist"


def test_a_name_is_no_id_of_an_artist() -> None:
    send(("plays.csv", csv_of([{**PLAYS[0], "artist_mbid": "The Band"}])), user_id="ada")
    work_off()
    assert "letters, digits and hyphens" in str(list(HeldRecord.objects.values()))


def kept_for_previews() -> str:
    bodies = [*PreviewPart.objects.values_list("body", flat=True), *PreviewChunk.objects.values_list("body", flat=True)]
    inflated = [zlib.decompress(bytes(body)).decode() for body in bodies]
    return "".join(
        [*inflated, str(list(UploadPreview.objects.values())), str(list(PreviewChunk.objects.values("rows")))]
    )


def history_files() -> dict[str, tuple[str, bytes]]:
    plays = make_plays(450)
    files = histories.spotify_history(plays, podcasts=3)
    [items] = [json.loads(body) for path, body in files.items() if path.endswith(".json")]
    lines = b"\n\n".join(json.dumps(item).encode() for item in items)
    broken = b'{"ts": "2023-01-01T00:00:00Z", "ip_addr": "' + histories.ADDRESS.encode() + b'", '
    return {
        "zip": ("my_spotify_data.zip", zipped(files)),
        "json": ("history.json", json.dumps(items).encode()),
        "ndjson": ("history.ndjson", lines + b"\n" + broken),
        "items": ("recent.json", histories.recently_played(plays[:40])),
        "csv": ("scrobbles.csv", histories.lastfm(plays)),
    }


@pytest.mark.parametrize("name", ["zip", "json", "ndjson", "items", "csv"])
def test_a_preview_keeps_what_is_uploaded_and_nothing_else(admin_client: Any, name: str) -> None:
    file = history_files()[name]
    form = {"file": SimpleUploadedFile(*file), "user_id": "ada"}
    previewed = admin_client.post("/admin/ingestion/upload/add/", {**form, "_preview": "1"})
    assert previewed.status_code == 302, previewed.content
    kept = kept_for_previews()
    assert "Song" in kept
    assert histories.ADDRESS not in kept and histories.DEVICE not in kept
    admin_client.post(previewed["Location"], {"_upload": "1"})
    assert not UploadPreview.objects.exists()
    admin_client.post(
        "/admin/ingestion/upload/add/", {"file": SimpleUploadedFile(*file), "user_id": "ada", "again": "1"}
    )
    of_preview, direct = Upload.objects.filter(part_of=None).order_by("pk")
    assert what_came(of_preview) == what_came(direct)


def what_came(upload: Upload) -> list[Any]:
    """All that an upload has, but for its number and the time."""
    found: list[Any] = []
    for each in [upload, *upload.parts.order_by("pk")]:
        own = {name: getattr(each, name) for name in ("name", "format", "size", "sha256", "kind", "given", "columns")}
        reading = {name: value for name, value in each.reading.items() if name != "exported_at"}
        deliveries = each.deliveries.order_by("pk")
        rows = [(delivery.content, delivery.count, delivery.first_row, delivery.gaps) for delivery in deliveries]
        found += [own, reading, each.offset, each.left_out, rows]
    return found


def test_an_upload_that_broke_off_is_continued_from_a_preview(
    admin_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dict.fromkeys(uploads.DELIVERY_RECORDS, 100)
    monkeypatch.setattr(uploads, "DELIVERY_RECORDS", few)
    monkeypatch.setattr(previews, "DELIVERY_RECORDS", few)
    form = {"user_id": "ada"}
    add, file = "/admin/ingestion/upload/add/", history_files()["ndjson"]
    page = admin_client.post(add, {**form, "file": SimpleUploadedFile(*file), "_preview": "1"})["Location"]
    store = uploads._store
    stored_so_far: list[Any] = []

    def store_two(*args: Any) -> None:
        if len(stored_so_far) == 2:
            raise RuntimeError("broken off")
        store(*args)
        stored_so_far.append(args)

    monkeypatch.setattr(uploads, "_store", store_two)
    with pytest.raises(RuntimeError, match="broken off"):
        admin_client.post(add, {**form, "file": SimpleUploadedFile(*file)})
    monkeypatch.setattr(uploads, "_store", store)
    assert admin_client.post(page, {"_upload": "1"}).status_code == 302
    admin_client.post(add, {**form, "file": SimpleUploadedFile(*file), "again": "1"})
    continued, direct = Upload.objects.order_by("pk")
    assert continued.deliveries.count() == 5
    assert what_came(continued) == what_came(direct)


def test_pages_say_whose_plays_they_are(admin_client: Any) -> None:
    add, (name, body) = "/admin/ingestion/upload/add/", history_files()["json"]
    form_page = admin_client.get(add).content.decode()
    assert ">Listener</label>" in form_page and "(Letterboxd, Spotify, ListenBrainz, Last.fm)" in form_page
    page = admin_client.post(add, {"file": SimpleUploadedFile(name, body), "_preview": "1"})
    assert page.context["form"].errors == {"user_id": ["Listener is required."]}
    for what, kind in (("the new listener", "json"), ("listener", "zip")):
        form = {"file": SimpleUploadedFile(*history_files()[kind]), "user_id": "greta77", "_preview": "1"}
        preview = admin_client.get(admin_client.post(add, form)["Location"]).content.decode()
        assert f"For {what} <strong>greta77</strong>." in " ".join(preview.split())
        admin_client.post(add, {"file": SimpleUploadedFile(name, body), "user_id": "greta77"})
        work_off()
    upload = Upload.objects.get()
    page = admin_client.get(f"/admin/ingestion/upload/{upload.pk}/change/")
    assert "<dt>Listener</dt><dd>greta77</dd>" in page.content.decode()


def test_one_row_that_is_left_out_is_one() -> None:
    [body] = [each for path, each in histories.spotify_history(make_plays(2), podcasts=1).items() if "json" in path]
    upload = send(("history.json", body), user_id="ada")
    assert any("1 row is left out: podcasts" in note for note in upload["file_warnings"])


def test_previews_of_a_file_that_has_been_imported_are_deleted(admin_client: Any) -> None:
    name, body = history_files()["json"]
    for listener in ("ada", "rob"):
        form = {"file": SimpleUploadedFile(name, body), "user_id": listener, "_preview": "1"}
        admin_client.post("/admin/ingestion/upload/add/", form)
    assert UploadPreview.objects.count() == 2
    admin_client.post("/admin/ingestion/upload/add/", {"file": SimpleUploadedFile(name, body), "user_id": "ada"})
    assert UploadPreview.objects.get().named_fields == {"user_id": "rob"}
    assert PreviewPart.objects.exclude(preview=UploadPreview.objects.get()).count() == 0


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(item=ITEMS)
@pytest.mark.parametrize("layout", READ, ids=lambda layout: layout.kind)
def test_no_item_makes_a_layout_fail(layout: Any, item: dict[str, Any]) -> None:
    record = layout.read(item)
    assert record is None or "ip_addr" not in ascii_json(record)


def test_times_are_those_of_the_sources() -> None:
    """Spotify’s history has the end of a play, the others its beginning."""
    play = make_plays(1)[0]
    by_end = histories.history_item(play)
    begun = histories.listen(play)
    gap = datetime.fromisoformat(by_end["ts"]).timestamp() - begun["listened_at"]
    assert abs(gap - play.ms_played / 1000) <= timedelta(seconds=1).total_seconds()


def test_several_files_of_an_export_without_their_archive() -> None:
    files = histories.spotify_history(make_plays(30), podcasts=3, per_file=20)
    sent = [(path.rpartition("/")[2], body) for path, body in files.items() if path.endswith(".json")]
    upload = send(*sent, user_id="ada")
    assert len(upload["parts"]) == 2 and (upload["total"], upload["left_out"]) == (30, 3)
    assert len(stored()) == 30


def test_a_folder_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, body in histories.listenbrainz(make_plays(20), username="rob").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(body)
    (tmp_path / "_SUCCESS").touch()
    call_command("ingest_file", str(tmp_path))
    assert "20 rows imported" in capsys.readouterr().out
    assert {listen.user_id for listen in stored()} == {"rob"}


def test_a_folder_of_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plays = make_plays(9)
    for part in range(3):
        rows = [
            {"user_id": "ada", "played_at": play.at, "track_id": play.track_id, "artist": play.artist}
            for play in plays[3 * part : 3 * part + 3]
        ]
        pl.DataFrame(rows).write_parquet(tmp_path / f"part-{part}.parquet")
    (tmp_path / ".part-0.parquet.crc").write_bytes(b"crc")
    call_command("ingest_file", str(tmp_path))
    assert capsys.readouterr().out.count("3 rows imported") == 3
    assert [listen.played_at for listen in stored()] == [play.at for play in plays]
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="has no files"):
        call_command("ingest_file", str(tmp_path / "empty"))


@pytest.mark.parametrize("stream", ["listens", "tutors"])
def test_a_wrong_column_in_a_folder_names_its_file(tmp_path: Path, stream: str) -> None:
    column = {"listens": "played_at", "tutors": "updated_at"}[stream]
    for name, value in (("good", datetime(2025, 1, 4, tzinfo=UTC)), ("wrong", True)):
        rows = {"user_id": ["ada"], "tutor_id": ["t1"], "track_name": ["Song"], column: [value]}
        pl.DataFrame(rows).write_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(CommandError, match=rf"wrong\.parquet: The column .*{column}.* is of the type Boolean"):
        call_command("ingest_file", str(tmp_path), stream=stream)


def test_parquet_in_the_admin(admin_client: Any) -> None:
    out = io.BytesIO()
    rows = {"user_id": ["ada"] * 2, "played_at": [play.at for play in make_plays(2)], "Song": ["One", "Two"]}
    pl.DataFrame(rows).write_parquet(out)
    form = {"file": SimpleUploadedFile("plays.parquet", out.getvalue()), "stream": "listens", "_preview": "1"}
    response = admin_client.post("/admin/ingestion/upload/add/", form)
    assert response.status_code == 302, response.content
    preview = UploadPreview.objects.get()
    assert (preview.format, preview.rows) == ("parquet", 2)
    mapped = admin_client.post(response["Location"], {"_map": "1", "column-2": "track_name"})
    assert mapped.status_code == 302
    assert admin_client.get(mapped["Location"]).status_code == 200
    assert admin_client.post(mapped["Location"], {"_upload": "1"}).status_code == 302
    assert [listen.track_name for listen in stored()] == ["One", "Two"]


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_long_list_is_read_in_pieces(settings: Any, is_cut: bool) -> None:
    settings.MAX_BODY_BYTES = 10_000
    plays = make_plays(1500)
    body = histories.listenbrainz_json(plays)
    assert len(body) > 1_000_000
    form = {"file": SimpleUploadedFile("rob_lb.json", body[:-3] if is_cut else body), "user_id": "rob"}
    response = api().post("/api/uploads", form)
    if is_cut:
        assert "Not JSON" in refusal(response, 400)["message"] or "is not JSON" in refusal(response, 400)["message"]
        assert not Upload.objects.exists()
        return
    assert response.status_code == 201, response.content
    assert len(stored()) == 1500
