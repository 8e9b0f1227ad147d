"""Users and API keys in Django's admin."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest

from explorer.access import weight
from explorer.models import ApiKey, User
from explorer.roles import recount_after_save

admin.site.site_header = admin.site.site_title = "Featurescope"
admin.site.index_title = "Everything that is stored"


@admin.register(User)
class CuratorUserAdmin(UserAdmin[User]):
    """Django's page with the role of curator. A changed role changes the weight of the user's
    labels and votes at once.
    """

    list_display = ["username", "email", "is_staff", "curator", "suspended"]

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return [*fieldsets, ("Labels", {"fields": ["curator"]})] if obj else fieldsets

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        old_weight = weight(User.objects.get(pk=obj.pk)) if change else weight(obj)
        super().save_model(request, obj, form, change)
        assert isinstance(request.user, User)  # behind the admin's sign-in
        recount_after_save(obj, old_weight, by=request.user)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin[ApiKey]):
    """Keys without the keys themselves. Users create their own on the page of their account."""

    list_display = ["prefix", "user", "name", "created", "last_used", "revoked"]
    list_filter = ["revoked"]
    search_fields = ["prefix", "name", "user__username"]
    list_select_related = ["user"]
    readonly_fields = ["prefix", "user", "name", "created", "last_used", "revoked"]
    exclude = ["sha256"]
    actions = ["revoke"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: the key would be shown to the admin rather than to its user."""
        return False

    @admin.action(description="Revoke the chosen keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        for key in queryset:
            key.revoke()
        self.message_user(request, f"{len(queryset)} no longer work.")
