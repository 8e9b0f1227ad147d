"""Files as property tests need them: random bytes, and valid files that were damaged."""

from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INSERTED = [b"\0", b"\xff\xfe", b"\r", b'"', b"\n" * 3, b"[" * 5000, b"9" * 5000, b"\xed\xa0\x80"]


@st.composite
def damaged_files(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """Random bytes, or one of the valid files with bytes changed, cut out, put in or cut off."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        change = draw(st.sampled_from(["byte", "bit", "cut", "put", "end"]))
        if change == "byte":
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif change == "bit" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif change == "put":
            data[at:at] = draw(st.sampled_from(INSERTED))
        elif change == "end" and draw(st.booleans()):
            del data[at:]
    return bytes(data)


def try_files(check: Callable[[bytes], None], valid: Sequence[bytes], examples: int) -> None:
    """Call `check` with so many files; the same ones on every run of the gate."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged_files(valid))
    def any_file(data: bytes) -> None:
        check(data)

    any_file()
