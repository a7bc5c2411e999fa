"""The grammar behind the demo corpus: reads words.txt, openings.txt and plots.txt, tells one story for a seeded random.

A story is: opening, perhaps more about the hero, the friend where the plot has one, the beats of the plot, perhaps an
ending.  Slots are bound on first use, so that a toy keeps its colour and a hero the right pronouns."""

import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))
PRONOUNS = {
    "f": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "m": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
}
FRESH = {"good", "bad"}  # picked anew at every use
CHOICE = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{([A-Za-z]+)(\d?)(?:\.([a-z]+))?\}")
ROLES = {"": "hero", "f": "friend", "p": "parent", "g": "helper", "r": "gran"}


def plural(noun):
    return noun + "es" if noun.endswith(("s", "x", "ch", "sh")) else noun + "s"


def read_words(path):
    """category -> list of items, each a dict of forms with the word itself under ''."""
    words = {}
    for line in open(path, encoding="utf-8"):
        if line.startswith("#") or not line.strip():
            continue
        category, items = line.split(":", 1)
        words[category] = []
        for item in items.split(","):
            word, *forms = item.strip().split(";")
            words[category].append({"": word, "pl": plural(word), **dict(form.split("=") for form in forms)})
    return words


def read_plots(path):
    """name -> (flags, beats); a beat is the list of ways to tell it."""
    plots, beats = {}, None
    for line in open(path, encoding="utf-8"):
        line = line.rstrip("\n")
        if line.startswith("plot "):
            name, _, flags = line[5:].partition(":")
            beats = []
            plots[name] = (set(flags.split()), beats)
        elif line.startswith("- "):
            beats.append([line[2:]])
        elif line.startswith("/ "):
            beats[-1].append(line[2:])
        elif line and not line.startswith("#"):
            raise ValueError(f"{path}: not understood: {line}")
    return plots


class Grammar:
    def __init__(self):
        self.words = read_words(os.path.join(HERE, "words.txt"))
        self.plots = read_plots(os.path.join(HERE, "plots.txt"))
        self.openings = read_plots(os.path.join(HERE, "openings.txt"))

    def story(self, random):
        """One story as a list of parts: [opening, rest]; joined by a space they are the text."""
        return Story(self, random).tell()


class Story:
    def __init__(self, grammar, random):
        self.grammar, self.random = grammar, random
        self.flags, self.beats = random.choice(list(grammar.plots.values()))
        animal = "animal" in self.flags or ("child" not in self.flags and random.random() < 0.45)
        self.sort = "animal" if animal else "child"
        self.people, self.bound = {}, {}
        self.cast(animal)

    def pick(self, category):
        return self.random.choice(self.grammar.words[category])

    def cast(self, animal):
        """Chooses who is in it: name, sex and kind of each; no two share a name or, among animals, a kind."""
        for role in ("hero", "friend"):
            sex = self.random.choice("fm")
            names = ("girl", "boy") if not animal or self.random.random() < 0.4 else ("pet_girl", "pet_boy")
            kind = self.pick("beast")[""] if animal else {"f": "girl", "m": "boy"}[sex]
            name = self.pick(names[sex == "m"])[""]
            other = self.people.get("hero", {})
            while name == other.get("name") or (animal and kind == other.get("kind")):
                name, kind = self.pick(names[sex == "m"])[""], self.pick("beast")[""] if animal else kind
            self.people[role] = {"sex": sex, "name": name, "kind": kind}
        for role, stem in (("parent", "parent"), ("helper", "helper")):
            sex = self.random.choice("fm")
            self.people[role] = {"sex": sex, "kind": self.pick(f"{stem}_{sex}")[""]}
        sex = {"grandma": "m", "grandpa": "f"}.get(self.people["parent"]["kind"]) or self.random.choice("fm")
        self.people["gran"] = {"sex": sex, "kind": {"f": "grandma", "m": "grandpa"}[sex]}

    def person_slot(self, name):
        """The value of a slot about a person, or None."""
        hero, friend, parent = (self.people[r] for r in ("hero", "friend", "parent"))
        fixed = {
            "H": hero["name"],
            "F": friend["name"],
            "P": PRONOUNS[hero["sex"]]["his"] + " " + parent["kind"],
            "Pname": parent["kind"].capitalize(),
            "Gran": PRONOUNS[hero["sex"]]["his"] + " " + self.people["gran"]["kind"],
            "kind": hero["kind"],
            "fkind": friend["kind"],
            "g": self.people["helper"]["kind"],
        }
        if name in fixed:
            return fixed[name]
        for prefix, role in ROLES.items():
            if name.startswith(prefix) and name[len(prefix) :] in PRONOUNS["f"]:
                return PRONOUNS[self.people[role]["sex"]][name[len(prefix) :]]
        return None

    def word_slot(self, category, digit, form):
        if category == "petname":
            category = "pet_boy"
        key = category + digit
        if category in FRESH:
            return self.pick(category)[form]
        if key not in self.bound:
            taken = [item for k, item in self.bound.items() if k.rstrip("0123456789") == category]
            taken += [{"": p["kind"]} for p in self.people.values()] + [{"": p.get("name")} for p in self.people.values()]
            free = [i for i in self.grammar.words[category] if i[""] not in {t[""] for t in taken}]
            self.bound[key] = self.random.choice(free)
        return self.bound[key][form]

    def fill(self, match):
        name, digit, form = match.groups()
        value = self.person_slot(name)
        if value is None and name[0].isupper():
            lower = name[0].lower() + name[1:]
            value = self.person_slot(lower) or self.word_slot(lower, digit, form or "")
            return value[0].upper() + value[1:]
        return value or self.word_slot(name, digit, form or "")

    def say(self, beat):
        text = self.random.choice(beat)
        while CHOICE.search(text):
            text = CHOICE.sub(lambda m: self.random.choice(m.group(1).split("|")), text)
        return SLOT.sub(self.fill, self.call_by_kind(text))

    def call_by_kind(self, text):
        """Sometimes 'The little fox' instead of the name, where a sentence begins and no other of the kind is about."""
        if self.told < 2 or ("friend" in self.flags and self.sort == "child"):
            return text
        found = re.search(r"(?:^|(?<=[a-z]\. ))\{H\}(?= [a-z])(?! and )", text)
        if not found or self.random.random() > 0.2:
            return text
        return text[: found.start()] + self.random.choice(["The {kind}", "The little {kind}"]) + text[found.end() :]

    def tell(self):
        self.told = 0
        parts = [self.say(self.grammar.openings["open_" + self.sort][1][0])]
        rest = []
        if self.random.random() < 0.5:
            rest.append(self.say(self.grammar.openings["more"][1][0]))
        if "friend" in self.flags:
            rest.append(self.say(self.grammar.openings["friend_" + self.sort][1][0]))
        for beat in self.beats:
            self.told += 1
            rest.append(self.say(beat))
        if self.random.random() < 0.4:
            rest.append(self.say(self.grammar.openings["end"][1][0]))
        return [mend(part) for part in (parts[0], " ".join(rest))]


def mend(text):
    """Spaces, articles and capitals."""
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
    text = re.sub(r"(^|[.!?] |\.\" |[.!?]\" (?=[A-Z])|(?:^|[^,] )\")([a-z])", lambda m: m.group(1) + m.group(2).upper(), text)
    return text
