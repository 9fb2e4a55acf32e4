"""The demo's own words: what it is and is not, example posts, and what the page says at each moment."""

TITLE = "Writing assistants for peer support"
LEAD = "A draft to start from, and a second look at your own words. What is sent, and whether, is yours to decide."
PRIVATE = "Runs on this machine alone. What you type is neither stored nor sent anywhere."

IS = """\
### What this is
- **GM** reads a post and drafts a supportive reply. It learned from what a community found helpful.
- **IM** takes a draft, GM's or yours, and makes it warmer, clearer and safer. What it changed is marked.
- A place to try both, and to see where they fail."""

IS_NOT = """\
### What it is not
- **Not a helper.** It is for people who write replies, never for people in distress.
- **Not a clinician, and not a judge of danger.** It cannot tell how someone is.
- **Not finished text.** It can be wrong, flat or hurtful. Read every word before you use any."""

HINT_GM = "GM's draft appears here. Choose an example or write a post, then press “Draft a reply”."
HINT_OWN = "Your draft appears here."
HINT_IM = "IM's revision follows, with the words it changed marked."

READY = "Nothing written yet."
EMPTY_POST = "There is no post yet. Write one, or choose an example below."
EMPTY_DRAFT = "There is no draft to improve yet. Write one, or press “Draft a reply” to have GM write it."
WAITING = "Reading the post…"
WRITING = {"gm": "GM is writing a draft…", "im": "IM is revising it…"}
AGAIN = "The safety rules objected. Writing anew…"
STOPPED = "Stopped. What was written so far is below."
FAILED = "Something went wrong on this machine. Its log says what. Nothing was sent anywhere."

# Title, body, own draft.
EXAMPLES: dict[str, tuple[str, str, str]] = {
    "A lost job": (
        "Three months and I still get dressed for work",
        "They let me go in spring. I haven't told my parents. Every morning I put on the shirt, take the bus to the "
        "library and send applications until five. Nobody answers. I'm 41 and I feel like I'm acting in a play about "
        "my own life. Does this ever stop feeling like a secret?",
        "",
    ),
    "A friend gone quiet": (
        "My best friend stopped answering",
        "We used to talk every day. Since her move she reads my messages and doesn't reply. I keep going over what I "
        "said the last time. I don't want to be a burden, but I miss her so much that I check my phone at night.",
        "",
    ),
    "Caring and tired": (
        "I love my dad and I am so tired",
        "I look after my father since his stroke. My brother calls on Sundays and tells me I'm a saint. I don't want "
        "to be a saint, I want one evening off without feeling guilty. Yesterday I shouted at dad about a spilled "
        "glass and then I cried in the bathroom.",
        "",
    ),
    "Improve a draft": (
        "New city, nobody knows my name",
        "I moved here for university two months ago. In lectures there are three hundred people and I still eat alone. "
        "At home I was the funny one. Here I practise sentences before I say them and then I don't say them.",
        "Everyone goes through this, don't worry. You should just join a club and talk to people. It will be fine!",
    ),
}
