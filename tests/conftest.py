"""What every test module shares."""

import pytest

from rtc import runtime


@pytest.fixture(autouse=True)
def room_for_programs() -> None:
    """The tests compile more programs than one process can hold."""
    runtime.make_room()
