"""The key that makes an event id unique."""

from hypothesis import given
from hypothesis import strategies as st

from services.db.event_keys import event_key, event_keys


def test_a_key_is_the_same_today_and_in_ten_years():
    assert event_key("order-1").hex() == "56eea00bbcad2f0a2ca2cc13492405d7"


@given(st.lists(st.text()))
def test_many_keys_are_each_the_key_of_their_id(ids):
    assert event_keys(ids) == [event_key(one).hex() for one in ids]
