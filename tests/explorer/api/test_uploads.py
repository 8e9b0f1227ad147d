"""Files of labels through the API: sent, told of, and taken back, by the same rules as
on the page.
"""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from explorer.models import ApiKey, User
from features.interchange import tables
from features.models import Label, LabelScore, LabelUpload
from features.services import labels as label_services
from tests import builders
from tests.explorer.api.test_schema import check

pytestmark = pytest.mark.django_db
TABLE = (
    b'index,text,method,scores\n0,the word day,,\n1,a fox,theirs,"[{""kind"": ""detection"", '
    b'""value"": 0.9}]"\n'
)


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def send(client, planted):
    """Post a file as Ada (staff), Ben or Cleo (members), or nobody."""
    ada, ben, _ = builders.cast()
    cleo = User.objects.create_user("cleo")
    keys = {
        u.username: {"Authorization": f"Bearer {ApiKey.create(u, 'x')[1]}"}
        for u in (ada, ben, cleo)
    }

    def send(data=TABLE, name="labels.csv", who="ben", address="uploads/", **changes):
        form = {"model": "tiny", "sae": "2-res"} | changes
        if data is not None:
            form["file"] = SimpleUploadedFile(name, data)
        return client.post(f"/api/v1/{address}", form, headers=keys.get(who))

    return send


def test_a_file_from_sending_to_taking_back(send, client):
    schema = client.get("/api/v1/schema/").json()
    made = send()
    assert made.status_code == 201, made.json()
    check(schema, schema["paths"]["/api/v1/uploads/"]["post"], 201, made.json())
    told = made.json()
    assert (told["name"], told["by"], told["rows"], told["added"], told["undone"]) == (
        "labels.csv",
        "ben",
        2,
        2,
        None,
    )
    assert made["Location"] == f"/api/v1/uploads/{told['id']}/"
    assert client.get(made["Location"]).json() == told
    assert set(Label.objects.values_list("text", "method")) == {
        ("the word day", "person"),
        ("a fox", "upload:theirs"),
    }
    assert not LabelScore.objects.exists(), "what a member's file says of scores counts nothing"
    undone = send(None, address=f"uploads/{told['id']}/undo/")
    check(schema, schema["paths"]["/api/v1/uploads/{id}/undo/"]["post"], 200, undone.json())
    assert (undone.json()["undone_by"], undone.json()["kept"]) == ("ben", 0)
    assert not Label.objects.exists()
    assert send(None, address=f"uploads/{told['id']}/undo/").status_code == 409


def test_scores_of_a_file_count_where_a_curator_sends_it(send):
    assert send(who="ada").status_code == 201
    assert LabelScore.objects.get().value == 0.9


def test_words_that_are_there_get_the_senders_vote_and_stay_when_it_is_taken_back(send, planted):
    label_services.propose(
        planted.feature(0), "The word day", by=User.objects.get(username="ada"), weight=3
    )
    told = send().json()
    assert (told["added"], told["votes"]) == (1, 1)
    assert send(None, address=f"uploads/{told['id']}/undo/", who="ada").json()["undone_by"] == "ada"
    assert Label.objects.get().up == 0


@pytest.mark.parametrize(
    ("data", "name", "sentence"),
    [
        (b"index,text\n0,\n99,x\n", "a.csv", "Row 2, index"),
        (b"index,text\n0,day\n", "a.txt", "must end with .csv"),
        (b"\xff\xfe", "a.csv", "no rows"),  # a mark of UTF-16 and nothing after it
        (b"index,text\n0,\xff\n", "a.csv", "UTF-8"),
        (b"PAR1", "a.parquet", ""),
        (b"", "a.csv", "empty"),
        (b"index,text\n", "a.csv", "no rows"),
        (b"x" * (tables.MAX_BYTES + 1), "a.csv", "20 MiB"),
        (None, "", "No file"),
    ],
)
def test_a_file_that_cannot_be_taken_writes_nothing_and_says_why(send, data, name, sentence):
    refused = send(data, name)
    assert refused.status_code == 400
    assert sentence in " ".join(refused.json()["error"]["fields"]["file"])
    assert not LabelUpload.objects.exists()


def test_who_may_send_and_take_back(send, client):
    assert send(who="nobody").status_code == 401
    told = send().json()
    address = f"uploads/{told['id']}/undo/"
    assert send(None, address=address, who="cleo").status_code == 403
    User.objects.filter(username="cleo").update(suspended=timezone.now())
    assert send(who="cleo").status_code == 403
    assert send(None, address="uploads/999999/undo/", who="ada").status_code == 404
    assert Label.objects.count() == 2


def test_an_sae_that_is_not_there_and_a_body_that_is_no_form(send, client):
    assert send(sae="no-such").status_code == 404
    assert send(sae="a\x00b").status_code == 400
    assert set(send(None, model="").json()["error"]["fields"]) == {"model", "file"}
    key = ApiKey.create(User.objects.get(username="ben"), "y")[1]
    json = client.post(
        "/api/v1/uploads/",
        {},
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert json.status_code == 415
