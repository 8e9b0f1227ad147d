"""Files of labels: what goes out comes in again, a wrong row writes nothing, and an upload can be
taken back.
"""

import io
import json

import pytest

from explorer.models import User
from features.interchange import labels as label_files
from features.interchange import tables
from features.models import Label, LabelScore, LabelUpload, Moderation, Vote
from features.records import InvalidInput, InvalidParams, LabelRecord, ScoreRecord
from features.services import comments as comment_services
from features.services import labels as label_services
from features.services import moderation as moderation_services
from features.services import uploads as upload_services
from tests import builders

pytestmark = pytest.mark.django_db
SCORE = {
    "kind": "detection",
    "value": 0.9,
    "low": 0.8,
    "high": 0.95,
    "n": 100,
    "balanced_accuracy": 0.9,
}


@pytest.fixture
def planted():
    return builders.planted()


@pytest.fixture
def people(planted):
    ada, ben, _ = builders.cast()
    return ada, ben


def send(planted, rows, by, trusted=False, name="labels.csv"):
    return upload_services.upload(
        planted.sae, name, rows, by=by, weight=3 if trusted else 1, trusted=trusted
    )


@pytest.mark.parametrize("kind", tables.FORMATS)
def test_what_goes_out_comes_in_again(planted, people, kind):
    ada, ben = people
    words = ['a "quoted", text', "=1+1", "<b>日本</b>", "-x", "it's"]
    for place, text in enumerate(words):
        label_services.propose(
            planted.feature(place if place < 3 else place + 1), text, by=ben, weight=1
        )
    score = ScoreRecord(
        "concept", 0.8, 0.7, 0.9, 50, balanced_accuracy=0.9, auroc=0.91, details={"precision": 0.75}
    )
    label_services.write_found(planted.sae, "concept", [LabelRecord(0, "“day”", {}, [score])], None)
    data = tables.write(label_files.rows_of(planted.sae), label_files.COLUMNS, kind)
    other = builders.planted(slug="other")
    rows = [dict(row) | {"sae": ""} for row in tables.parse_table(data, kind)]
    made = upload_services.upload(other.sae, f"x.{kind}", rows, by=ada, weight=3, trusted=True)
    assert (made.rows, made.added) == (6, 6)
    back = Label.objects.filter(sae=other.sae)
    assert sorted(back.values_list("feature__index", "text")) == sorted(
        Label.objects.filter(sae=planted.sae).values_list("feature__index", "text")
    )
    machine = back.get(text="“day”")
    assert (machine.method, machine.author, machine.score) == ("upload:concept", None, 0.8)
    kept = LabelScore.objects.get(label=machine)
    assert (kept.low, kept.n, kept.details) == (0.7, 50, {"precision": 0.75})
    mine = back.get(text="=1+1")
    assert (mine.author, mine.method, mine.provenance["stated"]["author"]) == (ada, "person", "ben")
    assert other.feature(1).label == mine


def test_a_spreadsheet_runs_nothing_of_it(planted, people):
    label_services.propose(planted.feature(0), "=cmd|' /C calc'!A1", by=people[1], weight=1)
    data = tables.write(label_files.rows_of(planted.sae), label_files.COLUMNS, "csv").decode()
    assert "'=cmd" in data
    assert ",=cmd" not in data


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "x"}, "Row 2, index: A whole number"),
        ({"index": "99", "text": "x"}, "Row 2, index: tiny/2-res has no computed feature 99"),
        ({"index": "-1", "text": "x"}, "Row 2, index"),
        ({"index": True, "text": "x"}, "Row 2, index"),
        ({"index": 1.5, "text": "x"}, "Row 2, index"),
        ({"index": "1", "text": ""}, "Row 2, text: Write at least one word"),
        ({"index": "1", "text": "a" * 501}, "Row 2, text: At most 500"),
        ({"index": "1", "text": None}, "Row 2, text"),
        ({"index": "1", "text": ["x"]}, "Row 2, text"),
        ({"index": "0", "text": "GOOD"}, "Row 2, text: row 1 says the same"),
        ({"index": "1", "text": "x", "lable": "y"}, "Row 2, lable: There is no such column"),
        ({"index": "1", "text": "x", "sae": "other/2-res"}, "Row 2, sae"),
        (
            {"index": "1", "text": "x", "method": "m" * 60},
            "Row 2, method: method is a text of at most",
        ),
        ({"index": "1", "text": "x", "method": 5}, "Row 2, method"),
        ({"index": "1", "text": "x", "scores": "{"}, "Row 2, scores"),
        (
            {"index": "1", "text": "x", "scores": [SCORE | {"kind": "luck"}]},
            "Row 2, scores: kind is one of",
        ),
        (
            {"index": "1", "text": "x", "scores": [SCORE | {"value": float("nan")}]},
            "Row 2, scores: value",
        ),
        (
            {"index": "1", "text": "x", "scores": [SCORE | {"auroc": 1.5}]},
            "Row 2, scores: f1, balanced_accuracy and auroc",
        ),
        ({"index": "1", "text": "x", "scores": [SCORE | {"n": -1}]}, "Row 2, scores"),
        ({"index": "1", "text": "x", "scores": [SCORE, SCORE]}, "Row 2, scores: Two of the kind"),
        (
            {"index": "1", "text": "x", "scores": [SCORE | {"scorer": "a\0b"}]},
            "Row 2, scores: scorer is",
        ),
        ({"index": "1", "text": "x", "scores": "[" * 100_000}, "Row 2, scores"),
    ],
)
def test_one_wrong_row_and_nothing_is_written(planted, people, row, said):
    with pytest.raises(InvalidParams) as wrong:
        send(planted, [{"index": "0", "text": "good"}, row], people[1])
    assert wrong.value.errors["file"][0].startswith(said)
    assert not Label.objects.exists()
    assert not LabelUpload.objects.exists()


def test_every_wrong_row_is_named_up_to_twenty(planted, people):
    with pytest.raises(InvalidParams) as wrong:
        send(planted, [{"index": "99", "text": "x"}] * 30, people[1])
    assert len(wrong.value.errors["file"]) == 21
    assert wrong.value.errors["file"][-1] == "And 10 more."


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "csv"),
        (b"index,text\n", "csv"),
        (b"index,text\n1\n", "csv"),
        (b"index,text\n1,x,y\n", "csv"),
        (b"index,index\n1,2\n", "csv"),
        (b"\xff\xfe", "csv"),
        (b'index,text\n1,"x', "csv"),
        (b"{", "jsonl"),
        (b"[1]\n", "jsonl"),
        (b'{"index": NaN}', "jsonl"),
        (b"[" * 200_000, "jsonl"),
        (b"", "jsonl"),
        (b"nonsense", "parquet"),
        (b"PAR1PAR1", "parquet"),
        (b"PAR1" + b"\0" * 100 + b"PAR1", "parquet"),
        (b"x" * (20 * 2**20 + 1), "csv"),
    ],
)
def test_what_is_no_table_is_said(data, kind):
    with pytest.raises(InvalidInput):
        tables.parse_table(data, kind)


def test_a_file_says_by_its_name_what_it_is():
    assert [tables.format_of(name) for name in ("a.CSV", "b.ndjson", "c.d.parquet")] == [
        "csv",
        "jsonl",
        "parquet",
    ]
    for name in ("labels", "labels.xlsx", ""):
        with pytest.raises(InvalidInput):
            tables.format_of(name)


def test_scores_of_a_members_file_count_nothing_and_are_kept(planted, people):
    row = {"index": 0, "text": "day", "method": "gpt", "scores": [SCORE], "for": 40}
    send(planted, [row], people[1])
    label = Label.objects.get()
    assert (label.score, label.support, label.up) == (None, 0.0, 0)
    assert label.provenance["stated"]["for"] == 40
    assert label.provenance["stated"]["scores"][0]["value"] == 0.9
    assert planted.feature(0).label is None


def test_words_that_are_there_get_the_uploaders_vote_once(planted, people):
    ada, ben = people
    first = label_services.propose(planted.feature(0), "Day", by=ada, weight=3)
    own = label_services.propose(planted.feature(1), "self", by=ben, weight=1)
    rows = [{"index": 0, "text": "day"}, {"index": 1, "text": "SELF"}, {"index": 2, "text": "new"}]
    made = send(planted, rows, ben)
    assert (made.rows, made.added, len(made.votes)) == (3, 1, 1)
    first.refresh_from_db()
    own.refresh_from_db()
    assert (first.up, own.up) == (1, 0)
    again = send(planted, rows, ben)
    assert (again.added, again.votes, Vote.objects.count()) == (0, [], 1)


def test_an_upload_is_taken_back_but_for_what_people_touched(planted, people):
    ada, ben = people
    there = label_services.propose(planted.feature(7), "é", by=ada, weight=3)
    rows = [{"index": i, "text": f"label {i}"} for i in range(7)] + [{"index": 7, "text": "É"}]
    made = send(planted, rows, ben)
    by_index = {
        label.feature.index: label
        for label in Label.objects.filter(upload=made).select_related("feature")
    }
    label_services.vote(by_index[0], 1, by=ada, weight=3)
    label_services.edit(by_index[1], "better", seen=1, by=ada)
    comment_services.comment(planted.feature(2), "hm", by=ada, label=by_index[2])
    moderation_services.flag(by_index[3], "spam", by=ada)
    there.refresh_from_db()
    assert there.up == 1
    assert upload_services.undo(made, by=ben) == upload_services.UndoneUpload(3, 4)
    there.refresh_from_db()
    assert there.up == 0
    assert sorted(Label.objects.filter(upload=made).values_list("feature__index", flat=True)) == [
        0,
        1,
        2,
        3,
    ]
    assert planted.feature(4).label is None
    assert planted.feature(0).label == by_index[0]
    assert not Moderation.objects.exists()
    with pytest.raises(InvalidInput):
        upload_services.undo(made, by=ben)


def test_a_curator_takes_an_upload_back_and_the_trail_says_so(planted, people):
    ada, ben = people
    made = send(planted, [{"index": 0, "text": "spam"}], ben)
    upload_services.undo(made, by=ada)
    row = Moderation.objects.get()
    assert (row.action, row.by, row.user, row.details["removed"]) == ("undo upload", ada, ben, 1)


def test_a_vote_given_again_since_is_the_persons_own(planted, people):
    ada, ben = people
    first = label_services.propose(planted.feature(0), "day", by=ada, weight=3)
    made = send(planted, [{"index": 0, "text": "day"}], ben)
    label_services.vote(first, 1, by=ben, weight=1)
    upload_services.undo(made, by=ben)
    assert Vote.objects.count() == 1


def test_ten_thousand_labels_take_a_constant_number_of_statements(
    planted, people, django_assert_max_num_queries
):
    costs = []
    for count in (10, 500):
        rows = [
            {"index": i % 8, "text": f"label {count} {i}", "scores": [SCORE]} for i in range(count)
        ]
        with django_assert_max_num_queries(40) as queries:
            send(planted, rows, people[0], trusted=True)
        costs.append(len(queries))
    assert costs[0] == costs[1]


def test_the_pages_upload_show_and_take_back(client, planted, people):
    _ada, ben = people
    assert client.get("/labels/uploads/")["Location"].startswith("/accounts/login/")
    client.force_login(ben)
    assert client.get("/labels/uploads/").status_code == 200

    def post(text, name="mine.csv", sae="tiny/2-res"):
        file = io.BytesIO(text.encode())
        file.name = name
        return client.post("/labels/uploads/", {"sae": sae, "file": file})

    wrong = post("index,text\n0,<b>day</b>\n99,x\n").content.decode()
    assert "Nothing was saved" in wrong
    assert "Row 2, index" in wrong
    assert post("x", name="a.xlsx").status_code == 422
    assert post("index,text\n0,x\n", sae="no/such").status_code == 422
    assert client.post("/labels/uploads/", {"sae": "tiny/2-res"}).status_code == 422
    assert not Label.objects.exists()
    made = post("index,text\n0,<b>day</b>\n1,self\n")
    assert made.status_code == 302
    page = client.get(made["Location"]).content.decode()
    assert "&lt;b&gt;day&lt;/b&gt;" in page
    assert "Undo this upload" in page
    cleo = User.objects.create_user("cleo")
    client.force_login(cleo)
    assert client.post(f"{made['Location']}undo/").status_code == 403
    client.force_login(ben)
    client.post(f"{made['Location']}undo/")
    assert not Label.objects.exists()
    User.objects.filter(pk=ben.pk).update(suspended="2026-01-01T00:00Z")
    assert "suspended" in post("index,text\n0,day\n").content.decode()
    assert not Label.objects.exists()


def test_a_download_is_what_the_labels_are(client, planted, people):
    label_services.propose(planted.feature(0), "day", by=people[1], weight=1)
    for kind in tables.FORMATS:
        response = client.get("/tiny/2-res/labels/download/", {"format": kind})
        assert response.status_code == 200
        assert response["Content-Disposition"] == f'attachment; filename="tiny-2-res-labels.{kind}"'
        (row,) = tables.parse_table(response.content, kind)
        assert (str(row["index"]), row["text"], str(row["for"])) == ("0", "day", "1")
    line = json.loads(client.get("/tiny/2-res/labels/download/?format=jsonl").content)
    assert list(line) == list(label_files.COLUMNS)
    assert client.get("/tiny/2-res/labels/download/?format=xls").status_code == 404
    assert client.get("/tiny/no-such/labels/download/").status_code == 404


@pytest.mark.parametrize(
    "row",
    [
        {"author": b"bytes"},
        {"author": "a\0b"},
        {"for": "many"},
        {"scores": [SCORE | {"details": {"a": "\0"}}]},
        {"scores": [SCORE | {"details": {"a": "\ud800"}}]},
        {"scores": [SCORE | {"details": {"a": float("nan")}}]},
        {"scores": [SCORE | {"details": {"a": "x" * 20_000}}]},
        {"scores": [SCORE | {"value": 10**400}]},
        {"scores": [SCORE | {"n": "99999999999999"}]},
    ],
)
def test_values_that_no_column_takes_are_refused_in_words(planted, people, row):
    ada, _ = people
    with pytest.raises(InvalidParams):
        send(planted, [{"index": 0, "text": "day", **row}], ada, trusted=True)
    assert not Label.objects.exists()


def test_a_small_file_of_a_very_large_table_is_refused_before_it_is_unpacked():
    import pyarrow
    from pyarrow import parquet

    long = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 2000, pyarrow.int32()), pyarrow.array(["x" * 2**20])
    )
    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"index": [0] * 2000, "text": long}), out)
    assert len(out.getvalue()) < tables.MAX_BYTES
    with pytest.raises(InvalidInput, match="unpacked"):
        tables.parse_table(out.getvalue(), "parquet")
