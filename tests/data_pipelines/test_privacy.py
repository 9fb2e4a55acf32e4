import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines import privacy

MASKED = {
    "ask u/some_person-1 about it": "ask [USER] about it",
    "thanks /u/AnotherOne!": "thanks [USER]!",
    "look at /user/some_person-1 there": "look at [USER] there",
    "look at user/AnotherOne.": "look at [USER].",
    "[https://example.org/a] is it": "[URL] is it",
    "at http://[2001:db8::1]:80/path now": "at [URL] now",
    "from 2001:db8::8a2e:370:7334 at night": "from [IP] at night",
    "from fe80::1 at night": "from [IP] at night",
    "I live at 12 rose lane now": "I live at [ADDRESS] now",
    "come to 44b old mill road please": "come to [ADDRESS] please",
    "my sort code is 01-02-03 and": "my [ACCOUNT] and",
    "sort code: 20 45 45": "[ACCOUNT]",
    "it is 60-83-71 here": "it is [ACCOUNT] here",
    "find me @quiet.fox there": "find me [USER] there",
    "see https://example.org/a?b=1#c.": "see [URL].",
    "on www.example.com, really": "on [URL], really",
    "it is on example.co.uk/help now": "it is on [URL] now",
    "read [this page](https://example.org/x_(y)": "read this page [URL]",
    "write to jo.smith+x@mail.example.org please": "write to [EMAIL] please",
    "jo at example dot com": "[EMAIL]",
    "call 555-010-4477 tonight": "call [PHONE] tonight",
    "call (555) 010-4477 tonight": "call [PHONE] tonight",
    "call +44 7700 900123 tonight": "call [PHONE] tonight",
    "call 07700 900 123.": "call [PHONE].",
    "from 192.168.10.254 at night": "from [IP] at night",
    "I was born on 3/4/1990 there": "I was [BIRTHDATE] there",
    "DOB: 12 March 1991": "[BIRTHDATE]",
    "I live at 221 Old Mill Road, flat 3 now": "I live at [ADDRESS] now",
    "it is SW1A 2AA here": "it is [POSTCODE] here",
    "zip code 90210 here": "[POSTCODE] here",
    "Beverly CA 90210 here": "Beverly CA [POSTCODE] here",
}

KEPT = (
    "call 988 or text 741741, day and night",
    "Samaritans are on 116 123, Lifeline on 13 11 14",
    "the lifeline is 1-800-273-8255 and 1-800-799-7233",
    "Childline 0800 1111 answers",
    "I was there from 1998 to 2004, or 2010-2014",
    "it cost 12.500.000 or 3,500,000 in all",
    "on 12/05/2021 it rained",
    "10/10 would u do it again",
    "we were 3 v 2 at 14:30, and/or so",
    "a.m. or p.m.? e.g. this. Co-op.",
    "I was born on a Tuesday",
    "for 15 years St Mary was there",
    "on 12-05-21 and 25-12-99 and 99-12-25 it snowed",
    "I walked 5 miles down the road",
    "after 12 years on the street and 3 days on a country lane",
    "2 people crossing the road, 20 minutes up the lane",
    "std::vector and a :: b and the superuser or user, and/or",
    "[USER] and [URL] stay as they are",
)


@pytest.mark.parametrize(("text", "expected"), MASKED.items())
def test_masks(text, expected):
    assert privacy.mask(text) == expected


@pytest.mark.parametrize("text", KEPT)
def test_keeps(text):
    assert privacy.mask(text) == text


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from([*MASKED, *KEPT]), st.text(max_size=12)), max_size=6), st.sampled_from(" .,\n(")
)
def test_masking_twice_changes_nothing(parts, joint):
    once = privacy.mask(joint.join(parts))
    assert privacy.mask(once) == once


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789 +-().@/u.:abcdeABCDE[]\n", max_size=60))
def test_masking_twice_changes_nothing_on_noise(text):
    once = privacy.mask(text)
    assert privacy.mask(once) == once


def test_placeholders_are_seen_and_counted():
    text = privacy.mask("write u/someone or u/another at a@example.org")
    assert privacy.has_placeholder(text)
    assert privacy.counts(text) == {"[USER]": 2, "[EMAIL]": 1}
    assert not privacy.has_placeholder("[sigh] no")
