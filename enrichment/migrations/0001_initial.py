import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('ingestion', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ClusterStatus',
            fields=[
                ('key', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('status', models.TextField()),
                ('expires_at', models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name='ProviderState',
            fields=[
                ('provider', models.CharField(max_length=32, primary_key=True, serialize=False)),
                ('next_slot', models.FloatField(db_default=0, default=0, help_text="Unix time, by the database's clock.")),
                ('blocked_until', models.DateTimeField(help_text='As the provider asked for (429, Retry-After).', null=True)),
                ('paused_at', models.DateTimeField(null=True)),
                ('paused_by', models.CharField(blank=True, db_default='', default='', help_text='user:<name> or command.', max_length=200)),
                ('paused_reason', models.TextField(blank=True, db_default='', default='')),
                ('stopped_at', models.DateTimeField(help_text='When it refused the key (401, 403).', null=True)),
                ('stopped_key', models.CharField(blank=True, db_default='', default='', help_text='A hash of the refused key.', max_length=64)),
                ('away_since', models.DateTimeField(help_text='The first error of the provider without a success since.', null=True)),
                ('away_until', models.DateTimeField(help_text='When it is tried again.', null=True)),
                ('away_count', models.PositiveIntegerField(db_default=0, default=0, help_text='Such errors in a row.')),
                ('last_error', models.TextField(blank=True, db_default='', default='')),
                ('last_error_at', models.DateTimeField(null=True)),
                ('last_success_at', models.DateTimeField(help_text='When it last answered a question.', null=True)),
                ('last_run_at', models.DateTimeField(help_text='When a runner last looked for work for it.', null=True)),
            ],
            options={
                'verbose_name': 'provider',
                'permissions': [('control_providers', 'Can pause, resume and run providers')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Pruning',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('by', models.CharField(help_text='user:<name>, command or schedule.', max_length=200)),
                ('before', models.DateTimeField()),
                ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When its last step was done.')),
                ('finished_at', models.DateTimeField(null=True)),
                ('reached', models.JSONField(default=dict, help_text='The present table, and the last row read in it.')),
                ('deleted', models.JSONField(default=dict, help_text="Deleted rows by kind: {'deliveries': n, …}.")),
            ],
            options={
                'verbose_name': 'retention run',
                'verbose_name_plural': 'retention',
                'permissions': [('prune', 'Can delete what is older than the retention')],
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='RetentionRule',
            fields=[
                ('stream', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('delivery_days', models.PositiveSmallIntegerField(blank=True, help_text='Processed deliveries and closed failed records; empty: RETENTION.', null=True)),
                ('dead_letter_days', models.PositiveSmallIntegerField(blank=True, help_text='Dead letters are discarded after so long; empty: never.', null=True)),
                ('stored_days', models.PositiveSmallIntegerField(blank=True, help_text='Stored records whose version is older are deleted, unless others refer to them; empty: never.', null=True)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='HeldRecord',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stream', models.CharField(max_length=64)),
                ('key', models.CharField(blank=True, help_text='Cleaned; empty if the record has none.', max_length=64)),
                ('client', models.CharField(help_text='Who sent it, as in its delivery.', max_length=200)),
                ('position', models.PositiveIntegerField(help_text='Position in the delivery, from 0.')),
                ('received_at', models.DateTimeField(help_text='When the delivery was received.')),
                ('version_at', models.DateTimeField(help_text='updated_at of the record if it can be read, else received_at.')),
                ('payload', models.TextField(help_text='JSON in ASCII.')),
                ('original_payload', models.TextField(help_text='As sent, kept when the payload is fixed.', null=True)),
                ('payload_version', models.PositiveIntegerField(default=0, help_text='Counts the fixes.')),
                ('status', models.CharField(choices=[('waiting', 'waiting'), ('dead', 'dead'), ('resolved', 'resolved'), ('discarded', 'discarded')], max_length=10)),
                ('stage', models.CharField(choices=[('validate', 'validate'), ('enrich', 'enrich'), ('upsert', 'upsert')], max_length=10)),
                ('code', models.CharField(choices=[('invalid', 'invalid'), ('too_large', 'too large'), ('missing_reference', 'missing reference'), ('crashed_worker', 'crashed worker'), ('enrich_error', 'enrich error'), ('conflict', 'conflict'), ('constraint', 'constraint'), ('unstorable', 'unstorable'), ('erased', 'erased')], max_length=20)),
                ('messages', models.JSONField(default=dict, help_text='field: [messages] of the last failure.')),
                ('message', models.CharField(help_text='The first message, on one line: records are grouped by it.', max_length=200)),
                ('missing_stream', models.CharField(blank=True, max_length=64)),
                ('missing_key', models.CharField(blank=True, max_length=64)),
                ('held_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('waiting_since', models.DateTimeField(null=True)),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('attempts', models.PositiveIntegerField(default=1)),
                ('queued_in', models.BigIntegerField(help_text='The pending delivery that will reprocess it.', null=True)),
                ('resolved_by', models.BigIntegerField(help_text='The delivery that stored it or a newer one.', null=True)),
                ('outcome', models.CharField(blank=True, help_text='The outcome when it was stored.', max_length=10)),
                ('discard_reason', models.TextField(blank=True)),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='held_records', to='ingestion.delivery')),
            ],
            options={
                'verbose_name': 'failed record',
                'permissions': [('reprocess', 'Can reprocess failed records'), ('discard', 'Can discard failed records'), ('fix', 'Can fix failed records'), ('refresh', 'Can refresh derived fields')],
            },
        ),
        migrations.CreateModel(
            name='Failure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('delivery', models.BigIntegerField(help_text='The delivery in which the attempt was made.')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('stage', models.CharField(choices=[('validate', 'validate'), ('enrich', 'enrich'), ('upsert', 'upsert')], max_length=10)),
                ('code', models.CharField(choices=[('invalid', 'invalid'), ('too_large', 'too large'), ('missing_reference', 'missing reference'), ('crashed_worker', 'crashed worker'), ('enrich_error', 'enrich error'), ('conflict', 'conflict'), ('constraint', 'constraint'), ('unstorable', 'unstorable'), ('erased', 'erased')], max_length=20)),
                ('messages', models.JSONField(default=dict)),
                ('code_version', models.CharField(max_length=40)),
                ('traceback', models.TextField(blank=True)),
                ('held', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='failures', to='enrichment.heldrecord')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='BulkAction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('reprocess', 'reprocess'), ('discard', 'discard'), ('fix', 'fix')], max_length=10)),
                ('by', models.CharField(help_text='user:<name> or command.', max_length=200)),
                ('filter', models.JSONField(default=dict, help_text='What selected the records: names of SELECTABLE_BY.')),
                ('change', models.JSONField(default=dict, help_text='Of a fix: what was changed.')),
                ('reason', models.TextField(blank=True)),
                ('total', models.PositiveIntegerField(default=0, help_text='Held records that matched when it was created.')),
                ('count', models.PositiveIntegerField(default=0, help_text='Held records acted on.')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('up_to', models.BigIntegerField(default=0, help_text='The newest held record that it acts on.')),
                ('reached', models.BigIntegerField(default=0, help_text='Held records up to this one are done.')),
                ('finished_at', models.DateTimeField(null=True)),
                ('last_error', models.TextField(blank=True, help_text='The error of the last step, which is tried again.')),
                ('deliveries', models.ManyToManyField(to='ingestion.delivery')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
                ('acted_on', models.ManyToManyField(related_name='bulk_actions', to='enrichment.heldrecord')),
            ],
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('enrichment.heldrecord',),
        ),
        migrations.CreateModel(
            name='WaitingRecord',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('enrichment.heldrecord',),
        ),
        migrations.CreateModel(
            name='Lookup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('provider', models.CharField(max_length=32)),
                ('kind', models.CharField(max_length=32)),
                ('key', models.CharField(max_length=500)),
                ('question', models.JSONField(default=dict, help_text='What the provider is asked, besides kind and key.')),
                ('status', models.CharField(choices=[('open', 'open'), ('found', 'found'), ('not_found', 'not found'), ('ambiguous', 'ambiguous'), ('failed', 'failed')], db_default='open', default='open', max_length=10)),
                ('answer', models.JSONField(help_text='As found, reduced to what is needed.', null=True)),
                ('candidates', models.JSONField(default=list, help_text='What a person may choose from.')),
                ('score', models.FloatField(help_text='How sure the answer is: 0 to 1.', null=True)),
                ('how', models.CharField(blank=True, help_text='The rule that found it.', max_length=64)),
                ('due_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When it is asked (again), or, while claimed, when the claim expires; null: never.', null=True)),
                ('turn', models.BigIntegerField(db_default=0, default=0, help_text='Open lookups are asked in this order.')),
                ('asked_again', models.BooleanField(db_default=False, default=False, help_text='By a person: before all refreshes.')),
                ('claim', models.CharField(blank=True, db_default='', help_text='Of the runner that is asking it.', max_length=32)),
                ('tries', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Failures in a row that were its own.')),
                ('misses', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Answers in a row: not found.')),
                ('failures', models.PositiveSmallIntegerField(db_default=0, default=0, help_text='Errors in a row, whosever.')),
                ('failed_at', models.DateTimeField(help_text='When the last of these errors happened.', null=True)),
                ('fault', models.CharField(blank=True, choices=[('question', 'question'), ('provider', 'provider'), ('code', 'code')], db_default='', max_length=10)),
                ('last_error', models.TextField(blank=True, db_default='')),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('asked_at', models.DateTimeField(help_text='When it was last sent to the provider.', null=True)),
                ('answered_at', models.DateTimeField(help_text='When the present answer was stored.', null=True)),
                ('gone_at', models.DateTimeField(help_text='When the provider no longer knew what it had found before.', null=True)),
                ('chosen_by', models.CharField(blank=True, db_default='', help_text='user:<name> or command.', max_length=200)),
                ('chosen_at', models.DateTimeField(null=True)),
                ('next', models.ForeignKey(help_text='The lookup that the answer led to.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='previous', to='enrichment.lookup')),
            ],
            options={
                'permissions': [('choose_answers', 'Can choose among ambiguous answers'), ('ask_again', 'Can have lookups asked again')],
            },
        ),
        migrations.CreateModel(
            name='AmbiguousLookup',
            fields=[
            ],
            options={
                'proxy': True,
                'indexes': [],
                'constraints': [],
            },
            bases=('enrichment.lookup',),
        ),
        migrations.CreateModel(
            name='LookupMinute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('provider', models.CharField(max_length=32)),
                ('requests', models.PositiveIntegerField(default=0)),
                ('throttled', models.PositiveIntegerField(default=0, help_text='Of the requests those answered with 429.')),
                ('errors', models.PositiveIntegerField(default=0, help_text='Of the requests those without a usable answer.')),
                ('found', models.PositiveIntegerField(default=0)),
                ('not_found', models.PositiveIntegerField(default=0)),
                ('ambiguous', models.PositiveIntegerField(default=0)),
                ('failed', models.PositiveIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('minute', 'provider'), name='lookup_minute_once')],
            },
        ),
        migrations.CreateModel(
            name='LookupUpload',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('lookup', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='enrichment.lookup')),
                ('upload', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='ingestion.upload')),
            ],
        ),
        migrations.AddField(
            model_name='lookup',
            name='uploads',
            field=models.ManyToManyField(related_name='lookups', through='enrichment.LookupUpload', to='ingestion.upload'),
        ),
        migrations.CreateModel(
            name='MinuteStat',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('stream', models.CharField(max_length=64)),
                ('inserted', models.PositiveIntegerField(default=0)),
                ('updated', models.PositiveIntegerField(default=0)),
                ('stale', models.PositiveIntegerField(default=0)),
                ('waiting', models.PositiveIntegerField(default=0, help_text='Records newly held, waiting.')),
                ('dead', models.PositiveIntegerField(default=0, help_text='Records newly held, dead.')),
                ('within_250ms', models.PositiveIntegerField(default=0)),
                ('within_500ms', models.PositiveIntegerField(default=0)),
                ('within_1s', models.PositiveIntegerField(default=0)),
                ('within_2s', models.PositiveIntegerField(default=0)),
                ('within_5s', models.PositiveIntegerField(default=0)),
                ('within_10s', models.PositiveIntegerField(default=0)),
                ('within_30s', models.PositiveIntegerField(default=0)),
                ('within_1m', models.PositiveIntegerField(default=0)),
                ('within_5m', models.PositiveIntegerField(default=0)),
                ('within_30m', models.PositiveIntegerField(default=0)),
                ('within_1h', models.PositiveIntegerField(default=0)),
                ('over_1h', models.PositiveIntegerField(default=0)),
                ('seconds', models.FloatField(default=0, help_text='The sum of these times over all records.')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('minute', 'stream'), name='minute_once')],
            },
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(help_text='What the person is: Subject.kind of a stream.', max_length=64)),
                ('digest', models.CharField(help_text='As in the suppression.', max_length=64)),
                ('key', models.CharField(blank=True, help_text='The person’s key, until it is done.', max_length=64)),
                ('names', models.JSONField(default=list, help_text='The person’s names and addresses, until it is done.')),
                ('by', models.CharField(help_text='user:<name> or command.', max_length=200)),
                ('reason', models.TextField(blank=True)),
                ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('changed_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), help_text='When its last step was done.')),
                ('finished_at', models.DateTimeField(null=True)),
                ('stage', models.CharField(max_length=20)),
                ('reached', models.JSONField(default=dict, help_text='How far the present stage is.')),
                ('erased', models.JSONField(default=dict, help_text='Kind of row → how many.')),
                ('before', models.JSONField(default=dict, help_text='Where the person stood before: table.column → rows.')),
                ('left', models.JSONField(default=list, help_text='Where the person still stands: table, row, column, key or name.')),
                ('last_error', models.TextField(blank=True, help_text='The error of the last step, which is tried again.')),
                ('lifted_at', models.DateTimeField(help_text='Since when records about the person are stored again.', null=True)),
                ('lifted_by', models.CharField(blank=True, max_length=200)),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'personal data',
                'permissions': [('erase_subjects', 'Can export and erase what is held about a person')],
                'default_permissions': (),
                'indexes': [models.Index(fields=['digest'], name='erasure_digest'), models.Index(condition=models.Q(('finished_at', None)), fields=['id'], name='erasure_unfinished')],
            },
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(condition=models.Q(('status__in', ('waiting', 'dead'))), fields=['stream', 'key'], name='held_open_key'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(fields=['key'], name='held_key'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(condition=models.Q(('status__in', ('waiting', 'dead'))), fields=['status', 'client', '-id', 'held_at'], name='held_open_client'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(condition=models.Q(('status__in', ('waiting', 'dead')), models.Q(('missing_stream', ''), _negated=True)), fields=['missing_stream', 'missing_key', 'status', 'stream', 'waiting_since'], name='held_open_missing'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(models.F('status'), models.F('code'), models.F('stream'), models.F('held_at'), models.F('stage'), models.F('client'), models.F('queued_in'), models.F('id'), condition=models.Q(('status__in', ('waiting', 'dead'))), name='held_open_code'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(models.F('status'), models.F('message'), models.F('stream'), models.F('held_at'), models.F('code'), models.F('stage'), models.F('client'), models.F('queued_in'), models.F('id'), condition=models.Q(('status__in', ('waiting', 'dead'))), name='held_open_message'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(fields=['status', '-id'], name='held_status'),
        ),
        migrations.AddIndex(
            model_name='heldrecord',
            index=models.Index(condition=models.Q(('queued_in__isnull', False)), fields=['queued_in'], name='held_queued'),
        ),
        migrations.AddConstraint(
            model_name='heldrecord',
            constraint=models.UniqueConstraint(fields=('delivery', 'position'), name='held_once'),
        ),
        migrations.AddIndex(
            model_name='bulkaction',
            index=models.Index(condition=models.Q(('finished_at', None)), fields=['id'], name='bulk_action_unfinished'),
        ),
        migrations.AddConstraint(
            model_name='lookupupload',
            constraint=models.UniqueConstraint(fields=('upload', 'lookup'), name='lookup_upload_once'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(condition=models.Q(('status', 'open')), fields=['provider', 'turn', 'id'], name='lookup_queue'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['provider', 'due_at'], name='lookup_due'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(condition=models.Q(('asked_again', True)), fields=['provider', 'due_at'], name='lookup_again'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(fields=['provider', 'status', '-id'], name='lookup_status'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(fields=['key'], name='lookup_key'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(fields=['provider', 'answered_at'], name='lookup_answered'),
        ),
        migrations.AddIndex(
            model_name='lookup',
            index=models.Index(condition=models.Q(('fault', 'code')), fields=['fault'], name='lookup_code_error'),
        ),
        migrations.AddConstraint(
            model_name='lookup',
            constraint=models.UniqueConstraint(fields=('provider', 'kind', 'key'), name='lookup_once'),
        ),
    ]
