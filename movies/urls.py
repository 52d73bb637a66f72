"""The pages of people's films."""

from django.urls import path

from movies.pages import deletion, uploading, views

urlpatterns = [
    path("uploads", uploading.upload, name="library-upload"),
    path("uploads/", uploading.upload),
    path("uploads/deleted", deletion.deleted, name="library-deleted"),
    path("uploads/<str:token>", views.overview, name="library"),
    path("uploads/<str:token>/", views.overview),
    path("uploads/<str:token>/progress", views.progress, name="library-progress"),
    path("uploads/<str:token>/films", views.films, name="library-films"),
    path("uploads/<str:token>/delete", deletion.confirm, name="library-delete"),
]
