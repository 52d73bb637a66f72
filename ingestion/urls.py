from django.urls import re_path

from ingestion.streams import all_streams
from ingestion.views import BatchView

urlpatterns = [
    re_path(rf"^{stream.name}/batch/?$", BatchView.as_view(stream=stream), name=f"{stream.name}-batch")
    for stream in all_streams()
]
