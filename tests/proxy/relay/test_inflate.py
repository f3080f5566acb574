from __future__ import annotations

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import CallerFault
from proxy.relay.inflate import inflate


def bare(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    " GZIP ": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": bare,
    "identity": bytes,
    "": bytes,
}


@given(st.sampled_from(sorted(CODINGS)), st.binary(max_size=3000))
def test_what_was_deflated_comes_back(coding: str, data: bytes) -> None:
    assert inflate(CODINGS[coding](data), coding, 3000) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate"])
def test_the_limit_counts_inflated_bytes(coding: str) -> None:
    data = CODINGS[coding](b"x" * 1000)
    assert len(inflate(data, coding, 1000)) == 1000
    with pytest.raises(CallerFault) as caught:
        inflate(data, coding, 999)
    assert caught.value.code == "body_too_large"
    assert caught.value.status == 413


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate"])
def test_a_bomb_stays_small(coding: str) -> None:
    bomb = CODINGS[coding](bytes(100 << 20))
    with pytest.raises(CallerFault) as caught:
        inflate(bomb, coding, 1 << 20)
    assert caught.value.code == "body_too_large"


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "chunked"])
def test_other_codings_are_refused_by_name(coding: str) -> None:
    with pytest.raises(CallerFault) as caught:
        inflate(b"x", coding, 100)
    assert caught.value.code == "unsupported_media_type"
    assert caught.value.param == "content-encoding"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data + b"more",
        lambda data: b"not compressed at all",
        lambda data: data[:-4] + bytes(4),
        lambda data: b"",
    ],
)
def test_broken_data_is_the_callers_fault(coding: str, spoil: object) -> None:
    assert callable(spoil)
    data = spoil(CODINGS[coding](b"hello, world" * 20))
    with pytest.raises(CallerFault) as caught:
        inflate(data, coding, 10_000)
    assert caught.value.code == "invalid_field"
    assert caught.value.param == "content-encoding"


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=300))
def test_no_bytes_can_do_worse_than_be_refused(coding: str, junk: bytes) -> None:
    with contextlib.suppress(CallerFault):
        assert len(inflate(junk, coding, 1000)) <= 1000
