import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Subject',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, unique=True)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Student',
            fields=[
                ('version_at', models.DateTimeField(editable=False)),
                ('delivery', models.BigIntegerField(editable=False, help_text='The delivery that this version came from.')),
                ('position', models.IntegerField(editable=False)),
                ('client', models.CharField(db_default='', default='', editable=False, help_text='Who sent this version, as in its delivery.', max_length=200)),
                ('warnings', models.JSONField(blank=True, default=list, editable=False, help_text='Unusual values that are not errors.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('student_id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('name', models.CharField(blank=True, help_text='Empty for a placeholder.', max_length=255)),
                ('age', models.SmallIntegerField(blank=True, null=True)),
                ('grade_level', models.CharField(blank=True, max_length=50, null=True)),
                ('subjects_interested', models.JSONField(blank=True, null=True)),
                ('created_at', models.DateTimeField(blank=True, null=True)),
                ('updated_at', models.DateTimeField(blank=True, null=True)),
                ('is_stub', models.BooleanField(default=False, editable=False, help_text='Placeholder for a student whose record has not arrived yet.')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('age__gte', 3), ('age__lte', 120)), name='student_age', violation_error_message='age must be from 3 to 120.')],
            },
        ),
        migrations.CreateModel(
            name='Tutor',
            fields=[
                ('version_at', models.DateTimeField(editable=False)),
                ('delivery', models.BigIntegerField(editable=False, help_text='The delivery that this version came from.')),
                ('position', models.IntegerField(editable=False)),
                ('client', models.CharField(db_default='', default='', editable=False, help_text='Who sent this version, as in its delivery.', max_length=200)),
                ('warnings', models.JSONField(blank=True, default=list, editable=False, help_text='Unusual values that are not errors.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('tutor_id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=255)),
                ('email', models.EmailField(max_length=254)),
                ('subjects', models.JSONField()),
                ('onboarding_date', models.DateTimeField()),
                ('status', models.CharField(choices=[('active', 'active'), ('inactive', 'inactive'), ('suspended', 'suspended'), ('churned', 'churned')], max_length=10)),
                ('age', models.SmallIntegerField(blank=True, null=True)),
                ('location', models.CharField(blank=True, max_length=255, null=True)),
                ('education_level', models.CharField(blank=True, max_length=100, null=True)),
                ('subject_type', models.CharField(blank=True, choices=[('STEM', 'STEM'), ('Language', 'Language'), ('TestPrep', 'TestPrep')], max_length=10, null=True)),
                ('behavioral_archetype', models.CharField(blank=True, choices=[('high_performer', 'high performer'), ('at_risk', 'at risk'), ('new_tutor', 'new tutor'), ('steady', 'steady'), ('churner', 'churner')], max_length=20, null=True)),
                ('baseline_sessions_per_week', models.SmallIntegerField(blank=True, null=True)),
                ('created_at', models.DateTimeField(blank=True, null=True)),
                ('updated_at', models.DateTimeField(blank=True, null=True)),
                ('tenure_days', models.IntegerField(editable=False, help_text='Whole days since onboarding_date.')),
                ('is_new_tutor', models.BooleanField(editable=False, help_text='Onboarded less than 30 days ago.')),
                ('experience_level', models.CharField(choices=[('junior', 'junior'), ('mid', 'mid'), ('senior', 'senior')], editable=False, help_text='junior: less than 90 days; senior: more than 365; mid: between.', max_length=10)),
                ('subject_count', models.SmallIntegerField(editable=False, help_text='Number of subjects.')),
                ('is_active_today', models.BooleanField(blank=True, editable=False, help_text="updated_at falls on today's date.", null=True)),
                ('derived_on', models.DateField(editable=False, help_text='Date (in TIME_ZONE) to which these five fields refer.')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['active', 'inactive', 'suspended', 'churned'])), name='tutor_status', violation_error_message='status must be one of: active, inactive, suspended, churned.'), models.CheckConstraint(condition=models.Q(('subject_type__in', ['STEM', 'Language', 'TestPrep'])), name='tutor_subject_type', violation_error_message='subject_type must be one of: STEM, Language, TestPrep.'), models.CheckConstraint(condition=models.Q(('behavioral_archetype__in', ['high_performer', 'at_risk', 'new_tutor', 'steady', 'churner'])), name='tutor_behavioral_archetype', violation_error_message='behavioral_archetype must be one of: high_performer, at_risk, new_tutor, steady, churner.'), models.CheckConstraint(condition=models.Q(('age__gte', 18), ('age__lte', 100)), name='tutor_age', violation_error_message='age must be from 18 to 100.'), models.CheckConstraint(condition=models.Q(('baseline_sessions_per_week__gte', 0), ('baseline_sessions_per_week__lte', 50)), name='tutor_baseline_sessions_per_week', violation_error_message='baseline_sessions_per_week must be from 0 to 50.')],
            },
        ),
        migrations.CreateModel(
            name='TutoringSession',
            fields=[
                ('version_at', models.DateTimeField(editable=False)),
                ('delivery', models.BigIntegerField(editable=False, help_text='The delivery that this version came from.')),
                ('position', models.IntegerField(editable=False)),
                ('client', models.CharField(db_default='', default='', editable=False, help_text='Who sent this version, as in its delivery.', max_length=200)),
                ('warnings', models.JSONField(blank=True, default=list, editable=False, help_text='Unusual values that are not errors.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('session_id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('scheduled_start', models.DateTimeField()),
                ('duration_minutes', models.SmallIntegerField()),
                ('subject', models.CharField(max_length=100)),
                ('session_number', models.IntegerField(blank=True, null=True)),
                ('is_first_session', models.BooleanField()),
                ('no_show', models.BooleanField()),
                ('actual_start', models.DateTimeField(blank=True, null=True)),
                ('actual_end', models.DateTimeField(blank=True, null=True)),
                ('session_type', models.CharField(choices=[('1-on-1', '1-on-1'), ('group', 'group'), ('workshop', 'workshop')], max_length=10)),
                ('tutor_initiated_reschedule', models.BooleanField()),
                ('late_start_minutes', models.SmallIntegerField(blank=True, null=True)),
                ('engagement_score', models.FloatField(blank=True, null=True)),
                ('learning_objectives_met', models.BooleanField(blank=True, null=True)),
                ('technical_issues', models.BooleanField()),
                ('created_at', models.DateTimeField(blank=True, null=True)),
                ('updated_at', models.DateTimeField(blank=True, null=True)),
                ('scheduled_offset', models.SmallIntegerField(editable=False, help_text='UTC offset in minutes that scheduled_start was sent with.')),
                ('is_weekend', models.BooleanField(editable=False, help_text='On a Saturday or Sunday, local time of the session.')),
                ('time_of_day', models.CharField(choices=[('morning', 'morning'), ('afternoon', 'afternoon'), ('evening', 'evening'), ('night', 'night')], editable=False, help_text="Morning 5–11, afternoon 12–16, evening 17–21, night 22–4 o'clock, local time of the session.", max_length=10)),
                ('is_late_start', models.BooleanField(blank=True, editable=False, help_text='More than 5 minutes late.', null=True)),
                ('actual_duration_minutes', models.IntegerField(blank=True, editable=False, help_text='From actual_start to actual_end; duration_minutes if the end is unknown.', null=True)),
                ('week_of_year', models.SmallIntegerField(editable=False, help_text='ISO week of scheduled_start, local time of the session.')),
                ('month_of_year', models.SmallIntegerField(editable=False, help_text='Month of scheduled_start (1–12), local time of the session.')),
                ('student', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='sessions', to='tutoring.student')),
                ('tutor', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='sessions', to='tutoring.tutor')),
            ],
            options={
                'verbose_name': 'session',
            },
        ),
        migrations.CreateModel(
            name='Feedback',
            fields=[
                ('version_at', models.DateTimeField(editable=False)),
                ('delivery', models.BigIntegerField(editable=False, help_text='The delivery that this version came from.')),
                ('position', models.IntegerField(editable=False)),
                ('client', models.CharField(db_default='', default='', editable=False, help_text='Who sent this version, as in its delivery.', max_length=200)),
                ('warnings', models.JSONField(blank=True, default=list, editable=False, help_text='Unusual values that are not errors.')),
                ('stored_at', models.DateTimeField(db_index=True, default=django.utils.timezone.now, editable=False, help_text='When the row last changed.')),
                ('feedback_id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('overall_rating', models.SmallIntegerField()),
                ('submitted_at', models.DateTimeField()),
                ('session_scheduled_start', models.DateTimeField(blank=True, help_text="Overrides the session’s own start.", null=True)),
                ('subject_knowledge_rating', models.SmallIntegerField(blank=True, null=True)),
                ('communication_rating', models.SmallIntegerField(blank=True, null=True)),
                ('patience_rating', models.SmallIntegerField(blank=True, null=True)),
                ('engagement_rating', models.SmallIntegerField(blank=True, null=True)),
                ('helpfulness_rating', models.SmallIntegerField(blank=True, null=True)),
                ('is_first_session', models.BooleanField()),
                ('free_text_feedback', models.CharField(blank=True, max_length=5000, null=True)),
                ('would_recommend', models.BooleanField(blank=True, null=True)),
                ('improvement_areas', models.JSONField(blank=True, null=True)),
                ('created_at', models.DateTimeField(blank=True, null=True)),
                ('is_positive', models.BooleanField(editable=False, help_text='overall_rating is 4 or 5.')),
                ('is_poor', models.BooleanField(editable=False, help_text='overall_rating is 1 or 2.')),
                ('avg_category_rating', models.FloatField(blank=True, editable=False, help_text='Mean of the category ratings given.', null=True)),
                ('category_variance', models.FloatField(blank=True, editable=False, help_text='Population variance of the category ratings.', null=True)),
                ('has_text_feedback', models.BooleanField(editable=False, help_text='free_text_feedback is not blank.')),
                ('feedback_delay_hours', models.FloatField(blank=True, editable=False, help_text="From the session’s scheduled start to submitted_at; negative if submitted earlier.", null=True)),
                ('session_start_used', models.DateTimeField(blank=True, editable=False, help_text="Session start that the delay was computed from.", null=True)),
                ('student', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='feedback', to='tutoring.student')),
                ('tutor', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='feedback', to='tutoring.tutor')),
                ('session', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='feedback', to='tutoring.tutoringsession')),
            ],
            options={
                'verbose_name_plural': 'feedback',
            },
        ),
        migrations.AddIndex(
            model_name='tutoringsession',
            index=models.Index(fields=['tutor'], name='session_tutor'),
        ),
        migrations.AddIndex(
            model_name='tutoringsession',
            index=models.Index(fields=['student'], name='session_student'),
        ),
        migrations.AddIndex(
            model_name='tutoringsession',
            index=models.Index(fields=['scheduled_start'], name='session_start'),
        ),
        migrations.AddIndex(
            model_name='tutoringsession',
            index=models.Index(condition=models.Q(('is_late_start', True)), fields=['scheduled_start'], name='session_late'),
        ),
        migrations.AddIndex(
            model_name='tutoringsession',
            index=models.Index(condition=models.Q(('no_show', True)), fields=['scheduled_start'], name='session_no_show'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('duration_minutes__gte', 0), ('duration_minutes__lte', 300)), name='session_duration_minutes', violation_error_message='duration_minutes must be from 0 to 300.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('late_start_minutes__gte', 0), ('late_start_minutes__lte', 60)), name='session_late_start_minutes', violation_error_message='late_start_minutes must be from 0 to 60.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('engagement_score__gte', 0), ('engagement_score__lte', 1)), name='session_engagement_score', violation_error_message='engagement_score must be from 0 to 1.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('session_number__gte', 1), ('session_number__lte', 2147483647)), name='session_session_number', violation_error_message='session_number must be from 1 to 2147483647.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('session_type__in', ['1-on-1', 'group', 'workshop'])), name='session_session_type', violation_error_message='session_type must be one of: 1-on-1, group, workshop.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('late_start_minutes__lte', models.F('duration_minutes'))), name='session_late_within_duration', violation_error_message='late_start_minutes must not exceed duration_minutes.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('actual_end__gt', models.F('actual_start'))), name='session_ends_after_start', violation_error_message='actual_end must be after actual_start.'),
        ),
        migrations.AddConstraint(
            model_name='tutoringsession',
            constraint=models.CheckConstraint(condition=models.Q(('no_show', False), ('actual_start', None), _connector='OR'), name='session_no_show_has_no_start', violation_error_message='actual_start must be absent when no_show is true.'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(fields=['session'], name='feedback_session'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(fields=['student'], name='feedback_student'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(fields=['tutor'], name='feedback_tutor'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(fields=['submitted_at'], name='feedback_submitted'),
        ),
        migrations.AddIndex(
            model_name='feedback',
            index=models.Index(condition=models.Q(('is_poor', True)), fields=['submitted_at'], name='feedback_poor'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('overall_rating__gte', 1), ('overall_rating__lte', 5)), name='feedback_overall_rating', violation_error_message='overall_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('subject_knowledge_rating__gte', 1), ('subject_knowledge_rating__lte', 5)), name='feedback_subject_knowledge_rating', violation_error_message='subject_knowledge_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('communication_rating__gte', 1), ('communication_rating__lte', 5)), name='feedback_communication_rating', violation_error_message='communication_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('patience_rating__gte', 1), ('patience_rating__lte', 5)), name='feedback_patience_rating', violation_error_message='patience_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('engagement_rating__gte', 1), ('engagement_rating__lte', 5)), name='feedback_engagement_rating', violation_error_message='engagement_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('helpfulness_rating__gte', 1), ('helpfulness_rating__lte', 5)), name='feedback_helpfulness_rating', violation_error_message='helpfulness_rating must be from 1 to 5.'),
        ),
        migrations.AddConstraint(
            model_name='feedback',
            constraint=models.CheckConstraint(condition=models.Q(('is_first_session', False), ('would_recommend__isnull', False), _connector='OR'), name='feedback_first_would_recommend', violation_error_message='would_recommend is required when is_first_session is true.'),
        ),
    ]
