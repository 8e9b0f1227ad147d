"""URLs below /labels/."""

from django.urls import path

from explorer.views import (
    activity,
    comments,
    endpoints,
    label_files,
    label_queue,
    labels,
    moderation,
    word_lists,
)

urlpatterns = [
    path("", activity.feed, name="labels"),
    path("disputed/", activity.disputed, name="disputed"),
    path("queue/", label_queue.show, name="queue"),
    path("uploads/", label_files.index, name="uploads"),
    path("uploads/<int:pk>/", label_files.show, name="upload"),
    path("uploads/<int:pk>/undo/", label_files.undo, name="undo_upload"),
    path("endpoints/", endpoints.index, name="endpoints"),
    path("endpoints/<slug:slug>/", endpoints.change, name="endpoint"),
    path("endpoints/<slug:slug>/delete/", endpoints.delete, name="delete_endpoint"),
    path("lists/", word_lists.index, name="word_lists"),
    path("lists/<name:slug>/", word_lists.show, name="word_list"),
    path("lists/<name:slug>/delete/", word_lists.delete, name="delete_word_list"),
    path("moderation/", moderation.index, name="moderation"),
    path("moderation/<int:pk>/", moderation.decide, name="decide"),
    path("by/<name:username>/suspend/", moderation.suspend, name="suspend"),
    path("by/<name:username>/role/", moderation.change_role, name="change_role"),
    path("by/<name:username>/", activity.person, name="labels_by"),
    path("<int:pk>/", labels.show, name="label"),
    path("<int:pk>/vote/", labels.vote, name="vote"),
    path("<int:pk>/edit/", labels.edit, name="edit_label"),
    path("<int:pk>/withdraw/", labels.withdraw, name="withdraw_label"),
    path("<int:pk>/restore/", labels.restore, name="restore_label"),
    path("<int:pk>/merge/", labels.merge, name="merge_label"),
    path("<int:pk>/flag/", labels.flag, name="flag_label"),
    path("comments/<int:pk>/edit/", comments.edit, name="edit_comment"),
    path("comments/<int:pk>/delete/", comments.delete, name="delete_comment"),
    path("comments/<int:pk>/flag/", comments.flag, name="flag_comment"),
    path("comments/<int:pk>/hide/", comments.hide, name="hide_comment"),
    path("comments/<int:pk>/restore/", comments.restore, name="restore_comment"),
]
