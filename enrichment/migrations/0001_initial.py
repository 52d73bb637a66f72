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
                ('code', models.CharField(choices=[('invalid', 'invalid'), ('too_large', 'too large'), ('missing_reference', 'missing reference'), ('crashed_worker', 'crashed worker'), ('enrich_error', 'enrich error'), ('conflict', 'conflict'), ('constraint', 'constraint'), ('unstorable', 'unstorable')], max_length=20)),
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
                ('code', models.CharField(choices=[('invalid', 'invalid'), ('too_large', 'too large'), ('missing_reference', 'missing reference'), ('crashed_worker', 'crashed worker'), ('enrich_error', 'enrich error'), ('conflict', 'conflict'), ('constraint', 'constraint'), ('unstorable', 'unstorable')], max_length=20)),
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
                ('acted_on', models.ManyToManyField(related_name='bulk_actions', to='enrichment.heldrecord')),
                ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('finished_at', None)), fields=['id'], name='bulk_action_unfinished')],
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
    ]
