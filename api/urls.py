from django.urls import re_path

from api.deliveries import DeadLettersView, DeliveriesView, DeliveryView
from api.earlier import EarlierUploadView, SessionView
from api.records import BatchView, RecordsView, RecordView, RowsView, RowView
from api.status import QueueStatsView, StatsView, WorkerView
from api.uploads import RejectedRowsView, UploadsView, UploadView
from ingestion.streams import all_lists, all_streams

fixed_paths = [
    re_path(r"^deliveries/?$", DeliveriesView.as_view(), name="deliveries"),
    re_path(r"^deliveries/(?P<id>[0-9]{1,18})/?$", DeliveryView.as_view(), name="delivery"),
    re_path(r"^dead-letters/?$", DeadLettersView.as_view(), name="dead-letters"),
    re_path(r"^uploads/?$", UploadsView.as_view(), name="uploads"),
    re_path(r"^uploads/(?P<id>[0-9]{1,18})/?$", UploadView.as_view(), name="upload"),
    re_path(r"^uploads/(?P<id>[0-9]{1,18})/errors/?$", RejectedRowsView.as_view(), name="upload-errors"),
    re_path(r"^upload/?$", EarlierUploadView.as_view(), name="earlier-upload"),
    re_path(r"^session/(?P<id>[0-9]{1,18})/status/?$", SessionView.as_view(), name="session"),
    re_path(r"^queue/stats/?$", QueueStatsView.as_view(), name="queue-stats"),
    re_path(r"^stats/?$", StatsView.as_view(), name="stats"),
    re_path(r"^worker/?$", WorkerView.as_view(), name="worker"),
]
urlpatterns = [*fixed_paths]
for stream in all_streams():
    urlpatterns += [
        # A batch before a record, whose key may be anything.
        re_path(rf"^{stream.name}/batch/?$", BatchView.as_view(stream=stream), name=f"{stream.name}-batch"),
        re_path(rf"^{stream.name}/?$", RecordsView.as_view(stream=stream), name=stream.name),
        re_path(rf"^{stream.name}/(?P<key>[^/]+)/?$", RecordView.as_view(stream=stream), name=f"{stream.name}-record"),
    ]
for readable in all_lists():
    urlpatterns += [
        re_path(rf"^{readable.name}/?$", RowsView.as_view(stream=readable), name=readable.name),
        re_path(rf"^{readable.name}/(?P<key>[^/]+)/?$", RowView.as_view(stream=readable), name=f"{readable.name}-row"),
    ]
