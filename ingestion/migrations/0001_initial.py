import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import ingestion.models
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.CharField(editable=False, max_length=150, primary_key=True, serialize=False, unique=True)),
                ('prefix', models.CharField(editable=False, max_length=8, unique=True)),
                ('hashed_key', models.CharField(editable=False, max_length=150)),
                ('created', models.DateTimeField(auto_now_add=True, db_index=True)),
                ('name', models.CharField(default=None, help_text='A free-form name for the API key. Need not be unique. 50 characters max.', max_length=50)),
                ('revoked', models.BooleanField(blank=True, default=False, help_text='If the API key is revoked, clients cannot use it anymore. (This cannot be undone.)')),
                ('expiry_date', models.DateTimeField(blank=True, help_text='Once API key expires, clients cannot use it anymore.', null=True, verbose_name='Expires')),
                ('can_ingest', models.BooleanField(default=True, help_text='May post records.')),
                ('can_read', models.BooleanField(default=True, help_text='May read records, deliveries and statistics.')),
                ('streams', models.JSONField(blank=True, default=list, help_text='Limited to these streams; empty = all.')),
                ('client', models.CharField(db_index=True, editable=False, help_text="Whose key it is: the prefix of the client's first key, shared by those that replace it.", max_length=8)),
                ('last_used_on', models.DateField(blank=True, editable=False, null=True)),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
                'ordering': ('-created',),
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='Doorbell',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('rung_at', models.DateTimeField(null=True)),
                ('answered_at', models.DateTimeField(null=True)),
                ('watched_until', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='ErasureSecret',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('secret', models.CharField(default=ingestion.models.new_secret, max_length=64)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='PausedStream',
            fields=[
                ('stream', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('by', models.CharField(help_text='user:<name>.', max_length=200)),
                ('reason', models.TextField(blank=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'verbose_name_plural': 'control',
                'permissions': [('control_streams', 'Can pause, resume and run streams')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Suppression',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(help_text='What the person is: Subject.kind of a stream.', max_length=64)),
                ('digest', models.CharField(help_text='HMAC-SHA-256 of kind and key, in hex.', max_length=64, unique=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Throttle',
            fields=[
                ('key', models.CharField(help_text='Its prefix.', max_length=8, primary_key=True, serialize=False)),
                ('due', models.FloatField(help_text="Unix time, by the database's clock.")),
            ],
        ),
        migrations.CreateModel(
            name='ColumnMapping',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('client', models.CharField(help_text='As in a delivery.', max_length=200)),
                ('stream', models.CharField(max_length=64)),
                ('column', models.CharField(max_length=100)),
                ('field', models.CharField(max_length=100)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('client', 'stream', 'column'), name='column_mapped_once')],
            },
        ),
        migrations.CreateModel(
            name='Upload',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=64)),
                ('client', models.CharField(help_text='As in a delivery.', max_length=200)),
                ('name', models.CharField(help_text='Of the file, as it was called there.', max_length=255)),
                ('format', models.CharField(choices=[('csv', 'CSV'), ('ndjson', 'NDJSON'), ('json', 'JSON'), ('xlsx', 'Excel'), ('parquet', 'Parquet'), ('set', 'set of files')], max_length=10)),
                ('size', models.PositiveBigIntegerField(help_text='Bytes of the file.')),
                ('sha256', models.CharField(help_text='Of the file, in hex.', max_length=64)),
                ('fingerprint', models.CharField(default='', help_text='The same file or set is noticed by it: the SHA-256, or one over it and what was given with it.', max_length=64)),
                ('kind', models.CharField(default='', help_text='The layout by which it was read; empty for none.', max_length=64)),
                ('given', models.JSONField(default=dict, help_text='Members that every record of the file has, besides its own.')),
                ('columns', models.JSONField(default=list, help_text='Of CSV: the names in its header, in order.')),
                ('reading', models.JSONField(default=dict, help_text='How the file was read: encoding, columns ignored and mapped, shared_keys, file_warnings, words.')),
                ('offset', models.PositiveBigIntegerField(default=0, help_text='Bytes stored as deliveries.')),
                ('left_out', models.PositiveBigIntegerField(db_default=0, default=0, help_text='Rows, among these bytes, that are no records of the stream.')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When `offset` last moved.')),
                ('finished_at', models.DateTimeField(help_text='When the whole file was stored.', null=True)),
                ('settled_at', models.DateTimeField(help_text='Of a file or a set: when all of its records had been processed, and what that entails.', null=True)),
                ('part_of', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='parts', to='ingestion.upload')),
            ],
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=64)),
                ('source', models.PositiveSmallIntegerField(choices=[(0, 'revived records'), (1, 'bulk action'), (2, 'client')], db_default=2, default=2)),
                ('client', models.CharField(help_text='key:<prefix>, user:<name> or system.', max_length=200)),
                ('format', models.CharField(choices=[('json', 'JSON'), ('ndjson', 'NDJSON'), ('held', 'IDs of failed records')], db_default='json', default='json', max_length=10)),
                ('body', models.BinaryField(editable=True, help_text='To be read as `content`.')),
                ('is_deflated', models.BooleanField(db_default=False, default=False, help_text='The body is kept compressed (zlib).')),
                ('size', models.PositiveIntegerField(db_default=0, default=0, help_text='Bytes of the body, inflated.')),
                ('refused', models.TextField(db_default='[]', default='[]', help_text='JSON: positions in the body that were refused.')),
                ('count', models.PositiveIntegerField(help_text='Accepted records.')),
                ('received_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('processed_at', models.DateTimeField(null=True)),
                ('first_row', models.PositiveBigIntegerField(help_text='Of an upload: the row of its first record, as a spreadsheet counts (the header is row 1).', null=True)),
                ('gaps', models.TextField(db_default='[]', default='[]', help_text='JSON: [position, empty rows between that record and the one before], where there are any.')),
                ('idempotency_key', models.CharField(max_length=255, null=True)),
                ('request_hash', models.CharField(db_default='', default='', help_text='SHA-256 of method, path, query and body.', max_length=64)),
                ('answer', models.TextField(db_default='', default='', help_text='JSON, as first sent.')),
                ('started_at', models.DateTimeField(null=True)),
                ('position', models.PositiveIntegerField(db_default=0, default=0, help_text='Items of the body before this one are done.')),
                ('part', models.PositiveIntegerField(help_text='Since a crash or timeout: claimed alone, so many records.', null=True)),
                ('crash_count', models.PositiveIntegerField(db_default=0, default=0, help_text='Crashes of the present part of one record.')),
                ('failure_count', models.PositiveIntegerField(db_default=0, default=0, help_text="Errors in a row that were not the record's.")),
                ('retry_at', models.DateTimeField(null=True)),
                ('last_error', models.TextField(db_default='', default='', help_text='The last such error.')),
                ('inserted', models.PositiveIntegerField(db_default=0, default=0)),
                ('updated', models.PositiveIntegerField(db_default=0, default=0)),
                ('stale', models.PositiveIntegerField(db_default=0, default=0)),
                ('held', models.PositiveIntegerField(db_default=0, default=0)),
                ('skipped', models.PositiveIntegerField(db_default=0, default=0, help_text='Held records that were closed or fixed meanwhile.')),
                ('upload', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='ingestion.upload')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
            },
        ),
        migrations.CreateModel(
            name='UploadPreview',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=64)),
                ('client', models.CharField(help_text='Who chose it, as in a delivery: nobody else sees it.', max_length=200)),
                ('name', models.CharField(max_length=255)),
                ('format', models.CharField(choices=[('csv', 'CSV'), ('ndjson', 'NDJSON'), ('json', 'JSON'), ('xlsx', 'Excel'), ('parquet', 'Parquet'), ('set', 'set of files')], max_length=10)),
                ('size', models.PositiveBigIntegerField(help_text='Bytes, unpacked and in UTF-8.')),
                ('sha256', models.CharField(max_length=64)),
                ('encoding', models.CharField(blank=True, max_length=20)),
                ('source_notes', models.JSONField(default=list)),
                ('kind', models.CharField(blank=True, help_text='As in an upload.', max_length=64)),
                ('given', models.JSONField(default=dict, help_text='As in an upload.')),
                ('named_fields', models.JSONField(default=dict, help_text='Of these, what the person has named.')),
                ('mapping', models.JSONField(default=dict, help_text='column → field, besides the columns mapped by their names.')),
                ('first_look', models.JSONField(default=dict, help_text='Columns, first rows and notes, for the page.')),
                ('rows', models.PositiveBigIntegerField(default=0)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('ready_at', models.DateTimeField(help_text='When all of it was saved.', null=True)),
                ('result', models.JSONField(default=dict, help_text='What the check has found so far.')),
                ('finished_at', models.DateTimeField(help_text='When the check was done, or given up.', null=True)),
                ('error', models.TextField(blank=True, help_text='Why it was given up.')),
                ('part_of', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='files', to='ingestion.uploadpreview')),
            ],
        ),
        migrations.CreateModel(
            name='PreviewPart',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('body', models.BinaryField()),
                ('preview', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='parts', to='ingestion.uploadpreview')),
            ],
        ),
        migrations.CreateModel(
            name='PreviewChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('body', models.BinaryField(help_text='NDJSON, compressed.')),
                ('rows', models.TextField(help_text='JSON: the row of each record.')),
                ('preview', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='ingestion.uploadpreview')),
            ],
        ),
        migrations.AddIndex(
            model_name='upload',
            index=models.Index(fields=['client', '-id'], name='upload_client'),
        ),
        migrations.AddIndex(
            model_name='upload',
            index=models.Index(fields=['fingerprint'], name='upload_fingerprint'),
        ),
        migrations.AddIndex(
            model_name='upload',
            index=models.Index(condition=models.Q(('part_of', None), ('settled_at', None)), fields=['id'], name='upload_unsettled'),
        ),
        migrations.AddConstraint(
            model_name='upload',
            constraint=models.UniqueConstraint(condition=models.Q(('finished_at', None)), fields=('client', 'stream', 'fingerprint'), name='upload_unfinished_once'),
        ),
        migrations.AddConstraint(
            model_name='upload',
            constraint=models.UniqueConstraint(condition=models.Q(('part_of__isnull', False)), fields=('part_of', 'fingerprint'), name='upload_part_once'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('processed_at', None)), fields=['stream', 'id'], name='delivery_pending'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('processed_at', None), ('source', 0)), fields=['stream', 'id'], name='delivery_revived'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['client', '-id'], name='delivery_client'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('source', 2), _negated=True), fields=['source', '-id'], name='delivery_ours'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('upload__isnull', False)), fields=['upload', 'id'], name='delivery_upload'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False)), fields=('client', 'idempotency_key'), name='delivery_sent_once'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(('processed_at', None), ('count', django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(django.db.models.expressions.CombinedExpression(models.F('inserted'), '+', models.F('updated')), '+', models.F('stale')), '+', models.F('held')), '+', models.F('skipped'))), _connector='OR'), name='delivery_adds_up'),
        ),
        migrations.AddIndex(
            model_name='uploadpreview',
            index=models.Index(fields=['client', 'id'], name='preview_client'),
        ),
        migrations.AddIndex(
            model_name='uploadpreview',
            index=models.Index(condition=models.Q(('finished_at', None)), fields=['id'], name='preview_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='previewpart',
            constraint=models.UniqueConstraint(fields=('preview', 'number'), name='preview_part_once'),
        ),
    ]
