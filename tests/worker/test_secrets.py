"""What counts as a secret, and that none of it passes, in however many pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edit_eval.worker.logs import CappedLog
from edit_eval.worker.secrets import (
    HIDDEN,
    Redactor,
    holds_password,
    is_secret,
    is_secret_parameter,
    secrets_of,
)

SECRETS = ["hf_abcdefgh", "sk-0123456789", "hf_abc", "aaaaaaab"]


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "PGPASSWORD", "DB_PASS", "MYSQL_PWD",
        "GITHUB_TOKENS", "hf_token", "Api_Key", "SSH_PASSPHRASE", "GOOGLE_APPLICATION_CREDENTIALS", "PROXY_AUTH",
        "AUTHORIZATION", "BEARER", "SESSION_COOKIE", "PASSWD",
    ],
)  # fmt: skip
def test_names_of_secrets(name):
    assert is_secret(name, "x")


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "PWD",
        "OLDPWD",
        "TOKENIZERS_PARALLELISM",
        "KEYBOARD",
        "AUTHOR",
        "CUDA_VISIBLE_DEVICES",
        "LANG",
    ],
)
def test_names_of_what_is_none(name):
    assert not is_secret(name, "x")
    assert is_secret(name, "https://me:word@host/x")


@pytest.mark.parametrize(
    "name", ["api_key", "token", "hf_token", "password", "secret", "accessKey", "access_key", "credentials"]
)
def test_names_of_secret_parameters(name):
    assert is_secret_parameter(name)


@pytest.mark.parametrize(
    "name", ["max_new_tokens", "pad_token", "eos_token", "key", "keys", "tokens", "author", "secretary"]
)
def test_names_of_parameters_that_are_none(name):
    assert not is_secret_parameter(name)


@pytest.mark.parametrize(
    "text",
    [
        "http://a:b@c",
        "postgres://:pw@h/x",
        "see https://me:word@host/ there",
        "s3://k:s/e@b".replace("/e", "e"),
    ],
)
def test_addresses_with_a_password(text):
    assert holds_password(text)
    assert Redactor(()).text(text).count("***@") == 1


@pytest.mark.parametrize(
    "text", ["http://host/x", "ssh://git@host/x", "a:b@c", "https://host/a:b@c", "mail me@host: x"]
)
def test_addresses_without_one(text):
    assert not holds_password(text)


def test_values_are_found_in_the_forms_they_are_written_in():
    found = secrets_of(
        {
            "HF_TOKEN": "a'b\"c\n/+é",
            "X_KEY": "short",
            "URL": "https://me:word12@host",
            "PATH": "/bin:/usr/bin",
        }
    )
    redactor = Redactor(found)
    for text in (
        "a'b\"c\n/+é",
        repr("a'b\"c\n/+é"),
        '{"t": "a\'b\\"c\\n/+\\u00e9"}',
        "x?t=a%27b%22c%0A%2F%2B%C3%A9",
    ):
        assert "+" not in redactor.text(text).replace("***", "")
        assert HIDDEN in redactor.text(text)
    assert redactor.text("me:word12 word12 short /bin") == "*** *** short /bin"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([*SECRETS, "hf_", "abcdefg", "a", "aaaaaaa", "sk-", " ", "x"]), max_size=20),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_pieces_give_what_the_whole_gives_and_no_secret(parts, cuts):
    text = "".join(parts)
    data = text.encode()
    redactor = Redactor(SECRETS)
    out, before = b"", 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        out += redactor.piece(data[before:cut])
        before = cut
    out += redactor.rest()
    assert not [one for one in SECRETS if one.encode() in out]
    if not any(one in text for one in SECRETS) and not any(text.endswith(one[:6]) for one in SECRETS):
        assert out.startswith(data[: len(data) - 12])


def test_data_keeps_its_shape_and_its_numbers():
    redactor = Redactor(["hf_abcdefgh"])
    data = {"reply": "is hf_abcdefgh", "scores": {"q": 5.0}, "size": [1, 2, None, True], "url": "http://a@b"}
    assert redactor.data(data) == {**data, "reply": "is ***"}


def test_a_log_holds_none_even_in_pieces(tmp_path):
    log = CappedLog(tmp_path / "a.log", redactor=Redactor(["hf_abcdefgh"]))
    for one in "token is hf_abcdefgh, and hf_abcdef":
        log.write(one.encode())
    log.close()
    assert (tmp_path / "a.log").read_text() == "token is ***, and ***"
    assert log.tail(100) == b"token is ***, and ***"
