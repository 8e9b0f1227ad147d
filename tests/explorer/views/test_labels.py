"""Labels on pages: proposing, voting, editing and talking, with and without script, by whom and
what is refused.
"""

import re

import pytest
from django.test import Client

from explorer.models import User
from features.models import Comment, Feature, Flag, Label, Moderation, Vote
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
    """Ada (staff), Ben and Cleo (members)."""
    ada, ben, _ = builders.cast()
    return ada, ben, User.objects.create_user("cleo", password="cleo-password-1")


def as_(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def propose(user, text, **extra):
    return as_(user).post(f"{PAGE}labels/", {"text": text}, **extra)


def html(client, address=PAGE):
    response = client.get(address)
    assert response.status_code == 200, response.content[:300]
    return Page(response)


def test_a_proposed_label_is_the_heading_with_what_it_fires_on_below(client, planted, people):
    _, ben, _ = people
    response = propose(ben, "the word “day”")
    assert (response.status_code, response["Location"]) == (302, f"{PAGE}#labels")
    page = html(client)
    assert page.one("h1").text == "the word “day”"
    assert page.has("#heading p", "Fires on “day”")
    assert page.has("main", "by ben")
    assert "<title>Feature 0: the word “day”" in page


def test_without_a_label_the_page_asks_for_one(client, planted):
    page = html(client)
    assert page.has("#heading .lede", "No good label yet")
    assert page.has("#heading a", "Name it")
    assert page.has('input[data-key="l"]')


def test_htmx_gets_the_labels_and_the_heading_and_no_page(planted, people):
    _, ben, _ = people
    headers = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": f"http://testserver{PAGE}"}
    response = propose(ben, "day", **headers)
    text = Page(response)
    assert response.status_code == 200
    assert "<html" not in text
    assert text.lstrip().startswith("<section")
    assert text.has('div[id="heading"][hx-swap-oob="true"]')
    elsewhere = propose(
        ben, "night", **headers | {"HTTP_HX_CURRENT_URL": "http://testserver/labels/queue/"}
    )
    assert "hx-swap-oob" not in Page(elsewhere)


def test_a_vote_counts_once_is_replaced_and_taken_back(planted, people):
    ada, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    for value, votes, up, down in (("1", 1, 3, 0), ("1", 1, 3, 0), ("-1", 1, 0, 3), ("0", 0, 0, 0)):
        assert as_(ada).post(f"/labels/{label.pk}/vote/", {"value": value}).status_code == 302
        label.refresh_from_db()
        assert (Vote.objects.count(), label.up, label.down) == (votes, up, down)


@pytest.mark.parametrize("value", ["", "2", "up", "\x00"])
def test_a_vote_that_is_none_is_refused(planted, people, value):
    ada, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    response = as_(ada).post(f"/labels/{label.pk}/vote/", {"value": value})
    assert response.status_code == 422
    assert Page(response).has("#labels [role=alert]", "take your vote back")
    assert not Vote.objects.exists()


def test_nobody_votes_on_their_own_label(planted, people):
    _, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    response = as_(ben).post(f"/labels/{label.pk}/vote/", {"value": "1"})
    assert response.status_code == 422
    assert Page(response).has("#labels [role=alert]", "your own label")
    assert not Vote.objects.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one word"),
        ("\u200b\x00\n", "at least one word"),
        ("a" * 10_000, "At most 500 characters"),
    ],
)
def test_words_that_cannot_be_a_label_are_refused_and_stay_in_the_form(planted, people, text, said):
    _, ben, _ = people
    response = propose(ben, text)
    page = Page(response)
    assert response.status_code == 422
    assert page.has("#label-error", said)
    assert not Label.objects.exists()
    if len(text) == 10_000:
        assert page.has(f'input[value="{text}"]')


def test_html_in_labels_comments_notes_and_reports_is_text(client, planted, people):
    ada, ben, cleo = people
    script = "<script>alert(1)</script><b onclick=x>"
    propose(ben, script)
    label = Label.objects.get()
    as_(ben).post(
        f"/labels/{label.pk}/edit/", {"text": script + "2", "note": script, "version": "1"}
    )
    as_(ben).post(f"{PAGE}comments/", {"text": script})
    as_(cleo).post(f"/labels/{label.pk}/flag/", {"text": script})
    assert (Comment.objects.get().text, Flag.objects.get().reason) == (script, script)
    for address in (
        PAGE,
        f"/labels/{label.pk}/",
        "/labels/",
        "/labels/by/ben/",
        "/labels/moderation/",
        "/tiny/2-res/",
    ):
        page = html(as_(ada), address)
        assert "<script>alert" not in page
        assert "<b onclick" not in page
        assert page.has("main", "<script>"), address


def test_control_characters_are_left_out(planted, people):
    _, ben, _ = people
    propose(ben, "da\x00y\u202e of\u200b rest\x07")
    assert Label.objects.get().text == "day of rest"
    as_(ben).post(f"{PAGE}comments/", {"text": "one\x00\r\ntwo\u202e\n\n\n\nthree"})
    assert Comment.objects.get().text == "one\ntwo\n\nthree"


def test_the_slower_of_two_editors_sees_the_newer_words_beside_their_own(planted, people):
    ada, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    as_(ada).post(f"/labels/{label.pk}/edit/", {"text": "the word day", "version": "1"})
    late = as_(ben).post(
        f"/labels/{label.pk}/edit/", {"text": "day, as in One day", "version": "1", "note": "why"}
    )
    page = Page(late)
    assert late.status_code == 409
    assert "<q>the word day</q>" in page
    assert page.has('input[value="day, as in One day"]')
    assert page.has('input[name="version"][value="2"]'), "so that a second Save goes through"
    assert Label.objects.get().text == "the word day"
    again = as_(ben).post(
        f"/labels/{label.pk}/edit/", {"text": "day, as in One day", "version": "2"}
    )
    assert again.status_code == 302
    assert [r.text for r in label.revisions.all()] == ["day", "the word day", "day, as in One day"]


def test_only_the_author_and_curators_edit(planted, people):
    _, ben, cleo = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    change = {"text": "night", "version": "1"}
    assert as_(cleo).post(f"/labels/{label.pk}/edit/", change).status_code == 403
    assert as_(cleo).post(f"/labels/{label.pk}/withdraw/").status_code == 403
    assert Label.objects.get().text == "day"
    User.objects.filter(pk=cleo.pk).update(curator=True)
    assert as_(cleo).post(f"/labels/{label.pk}/edit/", change).status_code == 302
    assert Label.objects.get().text == "night"


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 30, "٣"])
def test_an_edit_without_the_version_it_saw_writes_nothing(planted, people, version):
    _, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert (
        as_(ben)
        .post(f"/labels/{label.pk}/edit/", {"text": "night", "version": version})
        .status_code
        == 409
    )
    assert Label.objects.get().text == "day"


def test_who_is_signed_out_signs_in_and_finds_their_text(client, planted, people):
    response = client.post(f"{PAGE}labels/", {"text": "my <b>words</b>"})
    assert response.status_code == 302
    login = response["Location"]
    assert login.startswith("/accounts/login/?next=")
    assert not Label.objects.exists()
    sign_in = {"username": "ben", "password": "ben-password-1", "next": f"{PAGE}#labels"}
    assert client.post(login, sign_in)["Location"] == f"{PAGE}#labels"
    page = html(client)
    assert page.has('input[value="my <b>words</b>"]')
    assert "my &lt;b&gt;" not in html(client), "once"


def test_htmx_sends_who_is_signed_out_to_sign_in_too(client, planted):
    response = client.post(f"{PAGE}comments/", {"text": "x"}, headers={"HX-Request": "true"})
    assert response["HX-Redirect"].startswith("/accounts/login/?next=/tiny/2-res/0/")
    assert not Comment.objects.exists()


def test_forms_without_their_token_are_refused(planted, people):
    _, ben, _ = people
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ben)
    assert strict.post(f"{PAGE}labels/", {"text": "day"}).status_code == 403
    assert not Label.objects.exists()


def test_a_feature_or_label_that_is_gone_meanwhile_is_said(planted, people, monkeypatch):
    ada, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    assert as_(ada).post("/labels/99999/vote/", {"value": "1"}).status_code == 404
    assert as_(ada).post("/tiny/2-res/99/labels/", {"text": "x"}).status_code == 404
    assert (
        as_(ada).post("/tiny/2-res/99999999999999999999/labels/", {"text": "x"}).status_code == 404
    )
    feature = planted.feature(0)
    Feature.objects.filter(pk=feature.pk).delete()
    for act in (
        lambda: label_services.propose(feature, "x", by=ada, weight=3),
        lambda: label_services.vote(label, 1, by=ada, weight=3),
        lambda: label_services.edit(label, "x", seen=1, by=ben),
        lambda: comment_services.comment(feature, "x", by=ada),
        lambda: moderation_services.hide(label, by=ada),
    ):
        with pytest.raises(label_services.Gone):
            act()
    assert not Label.objects.exists()
    assert not Comment.objects.exists()


def test_a_thread_with_answers_and_comments_about_a_label(client, planted, people):
    ada, ben, _ = people
    label = label_services.propose(planted.feature(0), "day", by=ben, weight=1)
    as_(ada).post(f"{PAGE}comments/", {"text": "Only after “One”?", "label": str(label.pk)})
    first = Comment.objects.get()
    as_(ben).post(
        f"{PAGE}comments/", {"text": "No, see example 3.\n\nAnd 4.", "parent": str(first.pk)}
    )
    page = html(client)
    assert page.has("#talk option", "about “day”")
    assert re.search(
        r'<div class="comment-replies">.*No, see example 3\.</p>\s*<p>And 4', page, re.DOTALL
    )
    as_(ben).post(f"/labels/comments/{Comment.objects.last().pk}/edit/", {"text": "Yes."})
    assert html(client).has("main", ", edited")


def test_ones_own_comment_goes_unless_somebody_answered_it(client, planted, people):
    ada, ben, _ = people
    first = comment_services.comment(planted.feature(0), "first words", by=ben)
    answer = comment_services.comment(planted.feature(0), "an answer", by=ada, parent=first)
    assert as_(ada).post(f"/labels/comments/{first.pk}/delete/").status_code == 403
    assert as_(ben).post(f"/labels/comments/{first.pk}/delete/").status_code == 302
    page = html(client)
    assert page.has("main", "deleted by its author")
    assert "first words" not in page
    assert page.has("#talk p", "an answer")
    as_(ada).post(f"/labels/comments/{answer.pk}/delete/")
    assert not Comment.objects.filter(pk=answer.pk).exists()


def test_a_comment_of_10k_characters_or_about_another_features_label_is_refused(planted, people):
    _, ben, _ = people
    other = label_services.propose(planted.feature(1), "self", by=ben, weight=1)
    long = as_(ben).post(f"{PAGE}comments/", {"text": "b" * 10_000})
    assert long.status_code == 422
    assert "b" * 10_000 in Page(long)
    astray = as_(ben).post(f"{PAGE}comments/", {"text": "x", "label": str(other.pk)})
    assert Page(astray).has("#talk [role=alert]", "another feature")
    gone = as_(ben).post(f"{PAGE}comments/", {"text": "x", "parent": "12345"})
    assert Page(gone).has("#labels [role=alert]", "deleted meanwhile")
    assert not Comment.objects.exists()


def test_a_report_is_one_per_person_and_opens_for_curators(planted, people):
    ada, ben, cleo = people
    label = label_services.propose(planted.feature(0), "buy pills", by=ben, weight=1)
    for reason in ("spam", "spam, really"):
        assert as_(cleo).post(f"/labels/{label.pk}/flag/", {"text": reason}).status_code == 302
    assert [flag.reason for flag in Flag.objects.all()] == ["spam, really"]
    assert html(as_(ada), "/labels/").has("#main nav", "Moderation (1)")
    assert "Moderation" not in html(as_(cleo), "/labels/")
    assert not Moderation.objects.exists()


def test_the_feature_page_costs_the_same_with_many_labels_and_comments(
    planted, people, django_assert_max_num_queries
):
    ada, ben, cleo = people
    costs = []
    for round_ in range(2):
        for i in range(10):
            number = round_ * 10 + i
            label = label_services.propose(planted.feature(0), f"label {number}", by=ben, weight=1)
            label_services.vote(label, 1, by=cleo, weight=1)
            label_services.edit(label, f"label {number} again", seen=1, by=ben)
            above = comment_services.comment(planted.feature(0), "a", by=ada)
            comment_services.comment(planted.feature(0), "b", by=ben, parent=above, label=label)
        html(as_(ada))  # reads the tokens, which a process keeps
        with django_assert_max_num_queries(99) as queries:
            html(as_(ada))
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_a_hundred_answers_each_to_the_one_before_are_a_page_that_can_be_read(planted, people):
    _, ben, _ = people
    feature, parent = planted.feature(0), None
    for number in range(100):
        parent = Comment.objects.create(
            feature=feature, parent=parent, author=ben, text=f"answer number {number}"
        )
    page = html(as_(ben), PAGE)
    assert page.count("answer number") >= 100
    assert page.count('class="comment-replies"') == 5
