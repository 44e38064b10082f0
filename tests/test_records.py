"""The records on disk: what is written reads back, and a bad line is named by file and row."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cada_trl.errors import UserError
from cada_trl.records import Request, Verdict, read_jsonl, read_requests, write_jsonl

# Any text that UTF-8 can hold, line separators of every kind included.
TEXT = st.text(alphabet=st.characters(codec="utf-8"))
REQUEST = Request(id="r1", text="Is this allowed?", hazard="privacy", harmful=True, source="own")


def write_lines(folder, *lines):
    path = folder / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@given(
    st.lists(
        st.builds(Request, id=TEXT, text=TEXT, hazard=TEXT, harmful=st.booleans(), source=TEXT, pair=st.none() | TEXT),
        min_size=1,
    )
)
def test_requests_read_back_as_they_were_written(tmp_path_factory, requests):
    path = tmp_path_factory.mktemp("requests") / "requests.jsonl"
    write_jsonl(path, map(asdict, requests))
    assert read_requests(path) == requests


def test_requests_written_before_there_were_pairs_still_read(tmp_path):
    row = {"id": "r1", "text": "Is this allowed?", "hazard": "privacy", "harmful": True, "source": "own"}
    assert read_requests(write_lines(tmp_path, json.dumps(row))) == [REQUEST]
    with pytest.raises(UserError, match="row 1: field 'pair' is 3; expected str or null"):
        read_requests(write_lines(tmp_path, json.dumps({**row, "pair": 3})))


def test_a_record_is_one_line_of_json_with_its_letters_readable(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"text": "größer\nals"}, {"text": "二"}])
    assert path.read_text(encoding="utf-8") == '{"text": "größer\\nals"}\n{"text": "二"}\n'


def test_a_path_that_cannot_be_written_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot write .*rows\.jsonl: .*; free space or choose another folder"):
        write_jsonl(tmp_path / "file" / "rows.jsonl", [{"n": 1}])


def test_rows_are_numbered_as_an_editor_numbers_lines(tmp_path):
    path = write_lines(tmp_path, '{"n": 1}', "", "  ", '{"n": 2}')
    assert list(read_jsonl(path)) == [(1, {"n": 1}), (4, {"n": 2})]


def test_half_of_a_surrogate_pair_read_from_json_is_written_back(tmp_path):
    rows = [row for _, row in read_jsonl(write_lines(tmp_path, '{"text": "\\ud800"}'))]
    write_jsonl(tmp_path / "copy.jsonl", rows)
    assert [row for _, row in read_jsonl(tmp_path / "copy.jsonl")] == rows


@pytest.mark.parametrize("field", ["id", "text", "hazard", "harmful", "source"])
def test_a_request_without_one_of_its_fields_is_refused_with_its_number(tmp_path, field):
    row = dict(vars(REQUEST))
    whole = json.dumps(row)
    del row[field]
    path = write_lines(tmp_path, whole, json.dumps(row))
    with pytest.raises(UserError, match=rf"row 2: field '{field}' is None; expected (str|bool)"):
        read_requests(path)


@pytest.mark.parametrize(("field", "value"), [("text", 3), ("harmful", "true"), ("harmful", 1), ("hazard", None)])
def test_a_field_of_another_type_is_refused_and_never_converted(tmp_path, field, value):
    path = write_lines(tmp_path, json.dumps(vars(REQUEST) | {field: value}))
    with pytest.raises(UserError) as error:
        read_requests(path)
    assert f"row 1: field '{field}' is {value!r}" in str(error.value)


def test_fields_of_others_are_left_alone(tmp_path):
    path = write_lines(tmp_path, json.dumps(vars(REQUEST) | {"note": "mine"}))
    assert read_requests(path) == [REQUEST]


def test_a_file_without_a_request_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"holds no requests; run `python -m cada_trl\.prepare`"):
        read_requests(write_lines(tmp_path, ""))


def test_a_verdict_is_a_word_and_never_a_number():
    assert json.dumps(list(Verdict)) == '["REFUSED", "COMPLIED", "UNSCORED"]'
    for verdict in Verdict:
        with pytest.raises(ValueError, match="could not convert"):
            float(verdict)
