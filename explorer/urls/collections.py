"""URLs below /collections/."""

from django.urls import path

from explorer.views import collections

urlpatterns = [
    path("", collections.index, name="collections"),
    path("new/", collections.create, name="create_collection"),
    path("add/", collections.add, name="collect"),
    path("<int:pk>/", collections.show, name="collection"),
    path("<int:pk>/edit/", collections.edit, name="edit_collection"),
    path("<int:pk>/delete/", collections.delete, name="delete_collection"),
    path("<int:pk>/items/<int:item>/", collections.change_item, name="collection_item"),
    path("<int:pk>/collection.<str:form>", collections.download, name="download_collection"),
]
