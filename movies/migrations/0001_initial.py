import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import movies.models
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('enrichment', '0001_initial'),
        ('ingestion', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Film',
            fields=[
                ('film_key', models.CharField(help_text='Kind and number, such as movie-603.', max_length=32, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('movie', 'film'), ('tv', 'series')], help_text='Film or series.', max_length=5)),
                ('tmdb_id', models.PositiveIntegerField(help_text='Number at TMDB, of a film or of a series: both may have it.')),
                ('imdb_id', models.CharField(blank=True, help_text='Number at IMDb, such as tt0133093.', max_length=20, null=True)),
                ('title', models.CharField(blank=True, help_text='Title at TMDB.', max_length=500)),
                ('original_title', models.CharField(blank=True, help_text='Title in the original language.', max_length=500)),
                ('release_date', models.DateField(blank=True, help_text='First release, or first broadcast.', null=True)),
                ('runtime', models.PositiveIntegerField(blank=True, help_text='Minutes; of a series those of an episode.', null=True)),
                ('genres', models.JSONField(blank=True, default=list, help_text='Genres.')),
                ('directors', models.JSONField(blank=True, default=list, help_text='Directors; of a series those who created it.')),
                ('cast', models.JSONField(blank=True, default=list, help_text='Actors, the most important first.')),
                ('characters', models.JSONField(blank=True, default=list, help_text='Who they play, in the same order.')),
                ('countries', models.JSONField(blank=True, default=list, help_text='Countries of production.')),
                ('languages', models.JSONField(blank=True, default=list, help_text='Languages spoken.')),
                ('budget', models.BigIntegerField(blank=True, help_text='In US dollars.', null=True)),
                ('revenue', models.BigIntegerField(blank=True, help_text='In US dollars.', null=True)),
                ('popularity', models.FloatField(blank=True, help_text="By TMDB's measure.", null=True)),
                ('vote_average', models.FloatField(blank=True, help_text="Mean of TMDB's users, 0 to 10.", null=True)),
                ('vote_count', models.PositiveIntegerField(blank=True, help_text="How many of TMDB's users rated it.", null=True)),
                ('poster_path', models.CharField(blank=True, help_text='Path of the poster at TMDB.', max_length=100, null=True)),
                ('fetched_at', models.DateTimeField(help_text='When TMDB last described it; null: not yet.', null=True)),
                ('has_failed', models.BooleanField(default=False, help_text='TMDB was asked for the description, in vain.')),
                ('gone_at', models.DateTimeField(help_text='Since when TMDB does not know it any more.', null=True)),
            ],
            options={
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['title'], name='film_title')],
            },
        ),
        migrations.CreateModel(
            name='Library',
            fields=[
                ('name', models.CharField(help_text='As records name it.', max_length=64, primary_key=True, serialize=False)),
                ('client', models.CharField(help_text='Who sent its first record: key:<prefix>, user:<name> …', max_length=200)),
                ('token', models.CharField(default=movies.models.new_token, help_text='In the address of its page.', max_length=64, unique=True)),
                ('newest', models.JSONField(default=dict, help_text='Kind of entries → time of the newest export that holds them.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('linked_at', models.DateTimeField(help_text='When somebody was first given the address; then the library expires.', null=True)),
                ('last_seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When its page, or an upload, was last looked at.')),
            ],
            options={
                'verbose_name_plural': 'libraries',
                'default_permissions': ('view', 'delete'),
                'indexes': [models.Index(condition=models.Q(('linked_at__isnull', False)), fields=['last_seen_at'], name='library_seen')],
            },
        ),
        migrations.CreateModel(
            name='LibraryFilm',
            fields=[
                ('film_id', models.CharField(help_text='ID of the film within the library.', max_length=32, primary_key=True, serialize=False)),
                ('library', models.CharField(help_text='The library it belongs to.', max_length=64)),
                ('title', models.CharField(blank=True, help_text='As the newest export has it.', max_length=255)),
                ('year', models.PositiveIntegerField(blank=True, help_text='Year of the first showing, by the export.', null=True)),
                ('letterboxd_uri', models.CharField(blank=True, help_text='The film’s link.', max_length=500, null=True)),
                ('match', models.CharField(choices=[('open', 'open'), ('found', 'found'), ('not_found', 'not found'), ('ambiguous', 'ambiguous'), ('failed', 'failed')], default='open', help_text='Whether TMDB has it; open: being looked up.', max_length=10)),
                ('how', models.CharField(blank=True, help_text='The rule that found it.', max_length=64)),
                ('score', models.FloatField(blank=True, help_text='How sure that is, 0 to 1.', null=True)),
                ('rating', models.FloatField(blank=True, help_text='Present rating, 0.5 to 5.', null=True)),
                ('seen', models.BooleanField(default=False, help_text='Whether it has been seen.')),
                ('liked', models.BooleanField(default=False, help_text='Whether it is liked.')),
                ('watchlist', models.BooleanField(default=False, help_text='Whether it is on the watchlist.')),
                ('viewings', models.PositiveIntegerField(default=0, help_text='Viewings in the diary.')),
                ('rewatches', models.PositiveIntegerField(default=0, help_text='Viewings marked as rewatch.')),
                ('has_review', models.BooleanField(default=False, help_text='Whether there is a review of it.')),
                ('first_watched_on', models.DateField(blank=True, help_text='First day in the diary.', null=True)),
                ('last_watched_on', models.DateField(blank=True, help_text='Last day in the diary.', null=True)),
                ('tags', models.JSONField(blank=True, default=list, help_text='Tags of its viewings and reviews.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('lookup', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='library_films', to='enrichment.lookup')),
                ('tmdb_film', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='library_films', to='movies.film')),
            ],
            options={
                'verbose_name': 'library film',
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('version_at', models.DateTimeField(editable=False)),
                ('delivery', models.BigIntegerField(editable=False, help_text='The delivery that this version came from.')),
                ('position', models.IntegerField(editable=False)),
                ('client', models.CharField(db_default='', default='', editable=False, help_text='Who sent this version, as in its delivery.', max_length=200)),
                ('warnings', models.JSONField(blank=True, default=list, editable=False, help_text='Unusual values that are not errors.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('entry_id', models.CharField(help_text='ID, computed from library, kind, and link or title, year and day.', max_length=32, primary_key=True, serialize=False)),
                ('library', models.CharField(max_length=64)),
                ('kind', models.CharField(choices=[('watched', 'watched'), ('ratings', 'ratings'), ('diary', 'diary'), ('reviews', 'reviews'), ('likes', 'likes'), ('watchlist', 'watchlist'), ('import', 'import')], max_length=10)),
                ('title', models.CharField(blank=True, max_length=255)),
                ('year', models.PositiveIntegerField(blank=True, null=True)),
                ('letterboxd_uri', models.CharField(blank=True, max_length=500, null=True)),
                ('tmdb_id', models.PositiveIntegerField(blank=True, null=True)),
                ('imdb_id', models.CharField(blank=True, max_length=20, null=True)),
                ('directors', models.JSONField(blank=True, null=True)),
                ('rating', models.FloatField(blank=True, null=True)),
                ('rating10', models.PositiveSmallIntegerField(blank=True, null=True)),
                ('rewatch', models.BooleanField(default=False)),
                ('tags', models.JSONField(blank=True, null=True)),
                ('review', models.TextField(blank=True, null=True)),
                ('watched_on', models.DateField(blank=True, null=True)),
                ('added_on', models.DateField(blank=True, null=True)),
                ('exported_on', models.DateTimeField(blank=True, null=True)),
                ('orphaned', models.BooleanField(default=False)),
                ('deleted', models.BooleanField(default=False)),
                ('updated_at', models.DateTimeField(blank=True, null=True)),
                ('gone', models.BooleanField(default=False, editable=False, help_text='The library’s newest export of that kind lacks it: it is not counted.')),
                ('film', models.ForeignKey(blank=True, db_constraint=False, db_index=False, editable=False, help_text='The library’s film that it is about; null: not known yet, or two films of that title and year.', null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='entries', to='movies.libraryfilm')),
            ],
            options={
                'verbose_name_plural': 'entries',
            },
        ),
        migrations.CreateModel(
            name='UploadFilm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('film', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='uploads', to='movies.libraryfilm')),
                ('upload', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='films', to='ingestion.upload')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='libraryfilm',
            index=models.Index(fields=['library', 'title'], name='library_film_title'),
        ),
        migrations.AddIndex(
            model_name='libraryfilm',
            index=models.Index(fields=['lookup'], name='library_film_lookup'),
        ),
        migrations.AddIndex(
            model_name='libraryfilm',
            index=models.Index(fields=['tmdb_film'], name='library_film_tmdb'),
        ),
        migrations.AddIndex(
            model_name='libraryfilm',
            index=models.Index(condition=models.Q(('match', 'found'), _negated=True), fields=['match', 'library'], name='library_film_match'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['library', 'title'], name='entry_library_title'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['film'], name='entry_film'),
        ),
        migrations.AddConstraint(
            model_name='uploadfilm',
            constraint=models.UniqueConstraint(fields=('upload', 'film'), name='upload_film_once'),
        ),
    ]
