"""Moderation: who may do what, what it changes, what is taken back, and the trail that
it leaves.
"""

import pytest
from django.test import Client

from explorer import access, roles
from explorer.models import User
from features import text_cleaning
from features.models import Comment, Flag, Label, Moderation, Vote
from features.services import comments as comment_services
from features.services import labels as label_services
from features.services import moderation as moderation_services
from tests import builders
from tests.page import Page

pytestmark = pytest.mark.django_db
PAGE = "/tiny/2-res/0/"


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def people(planted):
    """Ada (staff), Ben (member), Cleo (curator)."""
    ada, ben, _ = builders.cast()
    return ada, ben, User.objects.create_user("cleo", password="cleo-password-1", curator=True)


def as_(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def actions():
    return list(Moderation.objects.order_by("id").values_list("action", "by__username"))


def test_what_each_role_weighs_and_may(people):
    ada, ben, cleo = people
    gone = User.objects.create_user("gone", is_active=False)
    visitor = builders.AnonymousUser()
    assert [access.weight(user) for user in (ada, ben, cleo, gone, visitor)] == [3, 1, 3, 0, 0]
    assert [access.may_curate(user) for user in (ada, ben, cleo, gone, visitor)] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert access.may_suspend(cleo, ben)
    assert not access.may_suspend(cleo, ada)
    assert not access.may_suspend(cleo, cleo)
    assert not access.may_suspend(cleo, User(curator=True, pk=99))
    assert access.may_suspend(ada, cleo)
    assert not access.may_suspend(ben, User(pk=98))


def test_a_suspended_person_writes_nothing_and_weighs_nothing_until_it_is_lifted(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    other = label_services.propose(planted.feature(1), "self", by=ada, weight=3)
    label_services.vote(other, -1, by=ben, weight=1)
    response = as_(cleo).post("/labels/by/ben/suspend/", {"suspend": "1", "reason": "spam"})
    assert response.status_code == 302
    label.refresh_from_db()
    other.refresh_from_db()
    assert (label.weight, label.support, other.down) == (0, 0.0, 0)
    assert planted.feature(0).label is None
    for address, data in (
        (f"{PAGE}labels/", {"text": "more"}),
        (f"{PAGE}comments/", {"text": "more"}),
        (f"/labels/{other.pk}/vote/", {"value": "1"}),
        (f"/labels/{label.pk}/edit/", {"text": "more", "version": "1"}),
        (f"/labels/{other.pk}/flag/", {"text": "more"}),
    ):
        refused = as_(ben).post(address, data)
        assert refused.status_code == 403
        assert Page(refused).has("main", "Your account is suspended"), address
    assert (Label.objects.count(), Comment.objects.count(), Flag.objects.count()) == (2, 0, 0)
    as_(cleo).post("/labels/by/ben/suspend/", {"suspend": "0"})
    label.refresh_from_db()
    other.refresh_from_db()
    assert (label.weight, other.down) == (1, 1)
    assert planted.feature(0).label == label
    assert actions() == [("suspend", "cleo"), ("unsuspend", "cleo")]
    assert Moderation.objects.first().details == {"weight": 1, "features": 2}


def test_a_curator_suspends_no_curator_and_nobody_suspends_staff(people):
    ada, ben, cleo = people
    User.objects.create_user("dan", curator=True)
    assert as_(cleo).post("/labels/by/dan/suspend/", {"suspend": "1"}).status_code == 403
    assert as_(cleo).post("/labels/by/ada/suspend/", {"suspend": "1"}).status_code == 403
    assert as_(ben).post("/labels/by/dan/suspend/", {"suspend": "1"}).status_code == 403
    assert as_(ada).post("/labels/by/dan/suspend/", {"suspend": "1"}).status_code == 302
    assert as_(cleo).post("/labels/by/nobody/suspend/", {"suspend": "1"}).status_code == 404
    assert list(
        User.objects.filter(suspended__isnull=False).values_list("username", flat=True)
    ) == ["dan"]


def test_a_role_changed_by_staff_or_on_the_admin_page_counts_at_once(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert as_(cleo).post("/labels/by/ben/role/", {"curator": "1"}).status_code == 403
    as_(ada).post("/labels/by/ben/role/", {"curator": "1"})
    label.refresh_from_db()
    assert label.weight == 3
    root = User.objects.create_superuser("root", password="root-password-1")
    page = as_(root).get(f"/admin/explorer/user/{ben.pk}/change/")
    form = {
        k: v
        for k, v in page.context["adminform"].form.initial.items()
        if v is not None and not isinstance(v, list)
    }
    joined = ben.date_joined
    form |= {
        "date_joined_0": joined.strftime("%Y-%m-%d"),
        "date_joined_1": joined.strftime("%H:%M:%S"),
    }
    form = {k: v for k, v in form.items() if v not in (False, "")} | {"username": "ben"}
    form.pop("curator")
    assert as_(root).post(f"/admin/explorer/user/{ben.pk}/change/", form).status_code == 302
    label.refresh_from_db()
    assert label.weight == 1
    assert actions() == [("role", "ada"), ("role", "root")]


def test_a_hidden_label_is_gone_from_pages_and_comes_back_whole(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "buy pills", by=ben, weight=1)
    label_services.vote(label, 1, by=ada, weight=3)
    flag = moderation_services.flag(label, "spam", by=ada)
    as_(cleo).post(f"/labels/moderation/{flag.pk}/", {"hide": "1", "reason": "an advertisement"})
    assert planted.feature(0).label is None
    for address in (PAGE, "/labels/", "/tiny/2-res/", "/labels/by/ben/"):
        assert "buy pills" not in Page(Client().get(address))
    assert Client().get(f"/labels/{label.pk}/").status_code == 404
    flag.refresh_from_db()
    assert (flag.decided_by, bool(flag.decided)) == (cleo, True)
    assert Page(as_(cleo).get("/labels/moderation/")).has("#main li", "buy pills")
    as_(cleo).post(f"/labels/{label.pk}/restore/")
    label.refresh_from_db()
    assert (label.state, label.up, planted.feature(0).label) == ("shown", 3, label)
    assert actions() == [("hide", "cleo"), ("restore", "cleo")]
    assert Moderation.objects.last().details == {"text": "buy pills"}


def test_a_report_that_is_dismissed_closes_all_of_the_same(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    first = moderation_services.flag(label, "wrong", by=ada)
    moderation_services.flag(label, "too", by=cleo)
    as_(cleo).post(f"/labels/moderation/{first.pk}/", {})
    assert not Flag.objects.filter(decided=None).exists()
    as_(cleo).post(f"/labels/moderation/{first.pk}/", {})
    assert actions() == [("dismiss", "cleo")]
    assert as_(ben).post(f"/labels/moderation/{first.pk}/", {"hide": "1"}).status_code == 403
    assert as_(cleo).post("/labels/moderation/999/", {"hide": "1"}).status_code == 404


def test_a_merger_takes_supporters_along_and_restoring_gives_them_back(planted, people):
    ada, ben, cleo = people
    dan = User.objects.create_user("dan")
    first = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    second = label_services.propose(planted.feature(0), "the word day", by=ada, weight=3)
    label_services.vote(second, 1, by=dan, weight=1)
    label_services.vote(second, -1, by=cleo, weight=3)
    as_(cleo).post(f"/labels/{second.pk}/merge/", {"into": str(first.pk)})
    first.refresh_from_db()
    second.refresh_from_db()
    assert (second.state, second.merged_into) == ("merged", first)
    assert (first.up, first.down) == (4, 0), (
        "Ada's 3 and Dan's 1; votes against were of other words"
    )
    assert planted.feature(0).label == first
    as_(ada).post(f"/labels/{first.pk}/vote/", {"value": "-1"})
    as_(cleo).post(f"/labels/{second.pk}/restore/")
    first.refresh_from_db()
    second.refresh_from_db()
    assert second.state == "shown"
    assert (first.up, first.down) == (0, 3), "Dan's vote went back; Ada has voted herself since"
    assert set(Vote.objects.filter(label=second).values_list("user__username", "value")) == {
        ("dan", 1),
        ("cleo", -1),
    }


@pytest.mark.parametrize("into", ["", "x", "999999", "self", "other feature"])
def test_a_merger_into_nothing_itself_or_another_feature_is_refused(planted, people, into):
    _, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    astray = label_services.propose(planted.feature(1), "self", by=ben, weight=1)
    into = {"self": str(label.pk), "other feature": str(astray.pk)}.get(into, into)
    assert as_(cleo).post(f"/labels/{label.pk}/merge/", {"into": into}).status_code == 422
    assert as_(ben).post(f"/labels/{label.pk}/merge/", {"into": into}).status_code == 403
    label.refresh_from_db()
    assert label.state == "shown"


def test_a_label_said_anew_meanwhile_cannot_come_back_beside_it(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    moderation_services.hide(label, by=cleo)
    label_services.propose(planted.feature(0), "Day", by=ada, weight=3)
    response = as_(cleo).post(f"/labels/{label.pk}/restore/")
    assert response.status_code == 422
    assert Page(response).has("#labels [role=alert]", "now says the same")
    assert actions() == [("hide", "cleo")]


def test_what_is_hidden_takes_no_edit_and_the_text_is_not_lost(planted, people):
    _, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    moderation_services.hide(label, by=cleo)
    response = as_(ben).post(
        f"/labels/{label.pk}/edit/", {"text": "my long thought", "version": "1"}
    )
    assert response.status_code == 422
    assert Page(response).has("#labels [role=alert]", "my long thought")


def test_an_author_withdraws_and_a_curator_restores(planted, people):
    _, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    as_(ben).post(f"/labels/{label.pk}/withdraw/")
    assert planted.feature(0).label is None
    assert as_(ben).post(f"/labels/{label.pk}/restore/").status_code == 403
    as_(cleo).post(f"/labels/{label.pk}/restore/")
    assert actions() == [("withdraw", "ben"), ("restore", "cleo")]


def test_a_hidden_comment_keeps_its_answers(planted, people):
    _, ben, cleo = people
    first = comment_services.comment(planted.feature(0), "rude words", by=ben)
    comment_services.comment(planted.feature(0), "please stay kind", by=cleo, parent=first)
    assert as_(ben).post(f"/labels/comments/{first.pk}/hide/").status_code == 403
    as_(cleo).post(f"/labels/comments/{first.pk}/hide/")
    page = Page(Client().get(PAGE))
    assert "rude words" not in page
    assert page.has("#talk p", "Hidden by a curator")
    assert page.has("#talk p", "please stay kind")
    assert as_(ben).post(f"/labels/comments/{first.pk}/edit/", {"text": "x"}).status_code == 403
    as_(cleo).post(f"/labels/comments/{first.pk}/restore/")
    assert Page(Client().get(PAGE)).has("#talk p", "rude words")


def test_moderation_is_for_curators(client, people):
    assert client.get("/labels/moderation/").status_code == 302
    assert as_(people[1]).get("/labels/moderation/").status_code == 403
    assert as_(people[2]).get("/labels/moderation/?cursor=nonsense").status_code == 200


@pytest.mark.parametrize("reason", ["\x00nul\x07", "r" * 10_000, "<script>alert(1)</script>"])
def test_any_reason_can_be_kept(planted, people, reason):
    _, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert as_(cleo).post(f"/labels/{label.pk}/withdraw/", {"note": reason}).status_code == 302
    assert (
        as_(cleo).post("/labels/by/ben/suspend/", {"suspend": "1", "reason": reason}).status_code
        == 302
    )
    assert set(Moderation.objects.values_list("reason", flat=True)) == {
        text_cleaning.one_line(reason)[:500]
    }
    assert "<script>alert" not in Page(as_(cleo).get("/labels/moderation/"))


def test_suspending_twice_leaves_one_row(people):
    ada, ben, _ = people
    for _ in range(2):
        roles.suspend(ben, by=ada)
    assert actions() == [("suspend", "ada")]
