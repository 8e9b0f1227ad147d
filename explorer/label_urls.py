"""Addresses below /labels/."""

from django.urls import path

from explorer.views import activity, endpoints, label_files, labels, moderating, queue, talk, word_lists

urlpatterns = [
    path("", activity.feed, name="labels"),
    path("disputed/", activity.disputed, name="disputed"),
    path("queue/", queue.show, name="queue"),
    path("uploads/", label_files.index, name="uploads"),
    path("uploads/<int:pk>/", label_files.show, name="upload"),
    path("uploads/<int:pk>/undo/", label_files.undo, name="undo_upload"),
    path("endpoints/", endpoints.index, name="endpoints"),
    path("endpoints/<slug:slug>/", endpoints.change, name="endpoint"),
    path("endpoints/<slug:slug>/delete/", endpoints.delete, name="delete_endpoint"),
    path("lists/", word_lists.index, name="word_lists"),
    path("lists/<name:slug>/", word_lists.show, name="word_list"),
    path("lists/<name:slug>/delete/", word_lists.delete, name="delete_word_list"),
    path("moderation/", moderating.index, name="moderation"),
    path("moderation/<int:pk>/", moderating.decide, name="decide"),
    path("by/<name:username>/suspend/", moderating.suspend, name="suspend"),
    path("by/<name:username>/role/", moderating.change_role, name="change_role"),
    path("by/<name:username>/", activity.person, name="labels_by"),
    path("<int:pk>/", labels.show, name="label"),
    path("<int:pk>/vote/", labels.vote, name="vote"),
    path("<int:pk>/edit/", labels.edit, name="edit_label"),
    path("<int:pk>/withdraw/", labels.withdraw, name="withdraw_label"),
    path("<int:pk>/restore/", labels.restore, name="restore_label"),
    path("<int:pk>/merge/", labels.merge, name="merge_label"),
    path("<int:pk>/flag/", labels.flag, name="flag_label"),
    path("comments/<int:pk>/edit/", talk.edit, name="edit_comment"),
    path("comments/<int:pk>/delete/", talk.delete, name="delete_comment"),
    path("comments/<int:pk>/flag/", talk.flag, name="flag_comment"),
    path("comments/<int:pk>/hide/", talk.hide, name="hide_comment"),
    path("comments/<int:pk>/restore/", talk.restore, name="restore_comment"),
]
