"""Every page of the admin, registered when Django looks for them; domains register the pages of their records."""

from django.contrib import admin

from console.bulk_actions.admin import BulkActionAdmin
from console.control.providers import ProviderAdmin
from console.control.streams import ControlAdmin
from console.data_access.admin import DataAccessAdmin
from console.deliveries import DeliveryAdmin
from console.held.admin import DeadLetterAdmin, HeldRecordAdmin, WaitingRecordAdmin
from console.keys import ApiKeyAdmin
from console.lookups.admin import AmbiguousLookupAdmin, LookupAdmin
from console.retention import RetentionAdmin
from console.subjects.admin import ErasureAdmin
from console.uploads.admin import UploadAdmin
from enrichment.lookups.models import AmbiguousLookup, Lookup, ProviderState
from enrichment.models import BulkAction, DataAccess, DeadLetter, Erasure, HeldRecord, Pruning, WaitingRecord
from ingestion.models import ApiKey, Delivery, PausedStream, Upload

admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(WaitingRecord, WaitingRecordAdmin)
admin.site.register(HeldRecord, HeldRecordAdmin)
admin.site.register(BulkAction, BulkActionAdmin)
admin.site.register(AmbiguousLookup, AmbiguousLookupAdmin)
admin.site.register(Lookup, LookupAdmin)
admin.site.register(ProviderState, ProviderAdmin)
admin.site.register(Upload, UploadAdmin)
admin.site.register(Delivery, DeliveryAdmin)
admin.site.register(PausedStream, ControlAdmin)
admin.site.register(Pruning, RetentionAdmin)
admin.site.register(Erasure, ErasureAdmin)
admin.site.register(DataAccess, DataAccessAdmin)
admin.site.register(ApiKey, ApiKeyAdmin)
