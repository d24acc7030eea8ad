// One item on the screen: the prompt, its answers, and what can be said of them. Pairs are chosen, more answers are ranked.

import { get } from "./api.js";
import { difference, marked, words } from "./diff.js";
import { $, announce, h, kbd, letter } from "./dom.js";
import { Draft } from "./draft.js";
import { Ranker } from "./rank.js";
import { nodesOf, textBlock } from "./text.js";

const STRENGTHS = ["slightly", "clearly", "strongly"];
const ROLES = { user: "Person", assistant: "Model", system: "Instruction", tool: "Tool" };

/** `said`: a judgement that was taken back, to begin with. `send(judgement)`, `pass(path)`, `flag()`, `undo()` are the page's. */
export class ItemView {
  constructor(item, project, actions, said = null) {
    Object.assign(this, { item, project, actions });
    this.isRank = item.answers.length > 2;
    this.draft = new Draft(item.assignment, said ? stateOf(said) : {});
    this.state = { choice: this.isRank ? "ranked" : null, strength: 0, ratings: item.answers.map(() => ({})), note: "", edit: null, order: null, ...this.draft.state };
    this.used = { diff: false, keys: 0 };
    this.build();
    this.refresh();
  }

  build() {
    this.cards = this.item.answers.map((answer, place) => this.card(answer, place));
    this.answers = h("div", { class: this.isRank ? "answers rank" : "answers pair", role: "group", "aria-label": "Answers" }, this.cards);
    if (this.isRank) this.ranker = new Ranker(this.answers, this.cards, this.state.order, (order) => this.set({ order, choice: "ranked" }));
    this.notes = this.notesPart();
    this.bar = this.barPart();
    const prompt = this.item.task === "chat" ? null : this.promptPart();
    this.element = h("div", { class: "item" }, prompt, this.answers, this.notes, this.bar);
  }

  promptPart() {
    const turns = this.item.prompt.map((turn, index) => {
      const body = textBlock(turn, (start) => this.more("prompt", index, start));
      const role = turn.role ? h("p", { class: "role" }, ROLES[turn.role] ?? nodesOf(turn.role)) : null;
      return h("div", { class: `turn ${ROLES[turn.role] ? turn.role : ""}` }, role, body);
    });
    return h("section", { class: "prompt", "aria-label": "Prompt", tabindex: "-1" }, turns);
  }

  card(answer, place) {
    const name = letter(place);
    const body = textBlock(answer, (start) => this.more("answers", place, start));
    const key = this.isRank ? null : kbd(place ? "→" : "←");
    const head = this.isRank
      ? h("header", {}, h("span", { class: "place" }), h("span", { class: "name" }, name))
      : h("header", {}, h("button", { type: "button", class: "pick", onclick: () => this.choose(place) }, h("span", { class: "name" }, name), key));
    const cut = answer.has_ended ? null : h("p", { class: "cut" }, "It did not come to an end: cut off here.");
    const empty = answer.length ? null : h("p", { class: "cut" }, "An empty answer.");
    const card = h("section", { class: "card", "aria-label": `Answer ${name}`, tabindex: this.isRank ? "0" : "-1" }, head, body, empty, cut, this.ratingsPart(place));
    card.body = body;
    if (!this.isRank)
      card.addEventListener("click", (event) => {
        if (!event.target.closest("button, label, input") && !String(getSelection())) this.choose(place);
      });
    return card;
  }

  ratingsPart(place) {
    return this.project.criteria.map(({ name, meaning, lowest, highest }, index) => {
      const values = Array.from({ length: highest - lowest + 1 }, (_, step) => lowest + step);
      return h(
        "fieldset",
        { class: "rating", title: meaning || false },
        h("legend", {}, nodesOf(name)),
        h(
          "div",
          { class: "scale" },
          values.map((value) =>
            h("label", {}, h("input", { type: "radio", name: `rating-${place}-${index}`, value, checked: this.state.ratings[place]?.[name] === value, onchange: () => this.rate(place, name, value) }), h("span", {}, String(value))),
          ),
        ),
      );
    });
  }

  notesPart() {
    const field = (id, label, rows, value, change) => {
      const area = h("textarea", { id, rows, dir: "auto", maxlength: id === "note" ? "4000" : "100000", oninput: () => change(area.value) });
      area.value = value ?? "";
      return h("div", { class: "field", hidden: !value }, h("label", { for: id }, label), area);
    };
    this.editField = field("edit", "A better answer, in your words", 6, this.state.edit, (edit) => this.set({ edit }));
    this.noteField = field("note", "Note", 2, this.state.note, (note) => this.set({ note }));
    return h("div", { class: "notes" }, this.editField, this.noteField);
  }

  barPart() {
    const button = (label, key, does, attributes = {}) => h("button", { type: "button", onclick: does, ...attributes }, label, " ", kbd(key));
    const choice = (value, label, key) => button(label, key, () => this.choose(value), { "data-choice": value, "aria-pressed": "false", "aria-keyshortcuts": KEYS_OF[value] });
    const better = (name) => h("span", {}, name, h("span", { class: "long" }, " is better"));
    const pair = [choice(0, better("A"), "←"), choice("tie", "Tie", "↓"), choice("bad", "Both bad", "X"), choice(1, better("B"), "→")];
    const ranked = [choice("ranked", "In this order", "O"), choice("tie", "All equal", "T"), choice("bad", "All bad", "X")];
    this.choices = h("div", { class: `choices ${this.isRank ? "ranked" : ""}`, role: "group", "aria-label": "Your choice" }, this.isRank ? ranked : pair);
    const strengths = STRENGTHS.map((name, index) => h("button", { type: "button", "data-strength": index + 1, "aria-pressed": "false", onclick: () => this.set({ strength: index + 1 }) }, name, " ", kbd(String(index + 1))));
    this.strengths = h("div", { class: "strengths", role: "group", "aria-label": "How much better?" }, strengths);
    this.sendButton = h("button", { type: "button", class: "primary", onclick: () => this.send() }, "Send ", kbd("⏎"));
    const tools = h(
      "div",
      { class: "more-tools" },
      button("Undo", "U", () => this.actions.undo(), { class: "plain" }),
      button("Skip", "S", () => this.actions.pass("skip"), { class: "plain" }),
      button("Flag", "F", () => this.actions.flag(), { class: "plain" }),
      button("Note", "N", () => this.open(this.noteField), { class: "plain" }),
      this.project.asks_edit && button("Edit", "E", () => this.edit(), { class: "plain" }),
      (this.diffButton = button("Differences", "D", () => this.differences(), { class: "plain", "aria-pressed": "false" })),
    );
    if (this.item.task === "chat") tools.replaceChildren(...[...tools.children].slice(3));
    return h("div", { class: "bar" }, tools, this.choices, h("div", { class: "finish" }, this.strengths, this.sendButton));
  }

  more(part, index, start) {
    return get("text", { assignment: this.item.assignment, part, index, start });
  }

  choose(choice) {
    if (this.isRank && typeof choice === "number") return;
    const isSide = typeof choice === "number";
    const strength = isSide && this.project.asks_strength ? this.state.strength || 2 : 0;
    this.set({ choice, strength });
    const said = isSide ? `${letter(choice)} is better${strength ? `, ${STRENGTHS[strength - 1]}` : ""}` : { tie: "Tie", bad: "All bad", ranked: "In this order" }[choice];
    announce(`${said}. Enter sends.`);
  }

  rate(place, name, value) {
    const ratings = this.state.ratings.map((rated, index) => (index === place ? { ...rated, [name]: value } : rated));
    this.set({ ratings });
  }

  set(change) {
    this.state = { ...this.state, ...change };
    this.draft.save(this.state);
    this.refresh();
  }

  refresh() {
    const { choice, strength } = this.state;
    const isSide = typeof choice === "number";
    for (const button of this.choices.children) button.setAttribute("aria-pressed", String(button.dataset.choice === String(choice)));
    for (const button of this.strengths.children) button.setAttribute("aria-pressed", String(Number(button.dataset.strength) === strength));
    const hasStrength = this.project.asks_strength && (isSide || (this.isRank && choice === "ranked"));
    this.strengths.classList.toggle("idle", !hasStrength);
    for (const button of this.strengths.children) button.disabled = !hasStrength;
    this.cards.forEach((card, place) => card.classList.toggle("chosen", choice === place));
    this.element.classList.toggle("bad", choice === "bad");
    this.sendButton.disabled = choice === null;
  }

  open(field) {
    field.hidden = false;
    $("textarea", field).focus();
  }

  /** Begin a better answer with the text of the one that was chosen, or of the first. */
  edit() {
    const area = $("textarea", this.editField);
    if (!area.value) area.value = this.prefilled = this.cards[typeof this.state.choice === "number" ? this.state.choice : 0].body.whole();
    this.open(this.editField);
  }

  differences() {
    this.used.diff = true;
    const isOn = this.diffButton.getAttribute("aria-pressed") !== "true";
    this.diffButton.setAttribute("aria-pressed", String(isOn));
    const texts = this.cards.map((card) => card.body.whole());
    const first = words(texts[0]);
    let isTooMuch = false;
    this.cards.forEach((card, place) => {
      const found = isOn ? difference(first, words(texts[place || 1])) : null;
      isTooMuch ||= isOn && found === null;
      const tokens = words(texts[place]);
      card.body.text.replaceChildren(...(found ? marked(tokens, found[place ? 1 : 0]) : nodesOf(texts[place])));
    });
    announce(isTooMuch ? "The answers differ in nearly everything." : isOn ? "Words that differ are marked." : "Marks removed.");
  }

  judgement() {
    const { choice, strength, ratings, note } = this.state;
    const places = this.item.answers.map((_, place) => place);
    const ranking = choice === "tie" || choice === "bad" ? [places] : this.isRank ? this.ranker.groups() : [[choice], [1 - choice]];
    const isRated = ratings.some((rated) => Object.keys(rated).length);
    const isEdited = this.state.edit && this.state.edit !== this.prefilled;
    return {
      assignment: this.item.assignment,
      ranking,
      all_bad: choice === "bad",
      strength: ranking.length > 1 ? strength : 0,
      ratings: isRated ? ratings : [],
      note: wellFormed(note),
      edit: isEdited ? wellFormed(this.state.edit) : null,
      seconds: Math.round(this.draft.count() * 1000) / 1000,
      client: { width: innerWidth, height: innerHeight, dark: matchMedia("(prefers-color-scheme: dark)").matches, touch: matchMedia("(pointer: coarse)").matches, diff: this.used.diff, keys: this.used.keys },
    };
  }

  send() {
    if (this.state.choice === null) {
      announce("Choose first.");
      return;
    }
    this.actions.send(this.judgement());
  }

  /** What a key does here; null for a key that means nothing. */
  key(key) {
    const { state } = this;
    const keys = {
      ArrowLeft: () => this.choose(0),
      a: () => this.choose(0),
      ArrowRight: () => this.choose(1),
      b: () => this.choose(1),
      ArrowDown: () => this.choose("tie"),
      t: () => this.choose("tie"),
      x: () => this.choose("bad"),
      Enter: () => this.send(),
      d: () => this.differences(),
      n: () => this.open(this.noteField),
      e: () => this.project.asks_edit && this.edit(),
      r: () => $(".rating input", this.element)?.focus(),
    };
    for (const digit of [1, 2, 3])
      keys[digit] = () => !$(`[data-strength="${digit}"]`, this.bar).disabled && this.set({ strength: digit });
    if (this.item.task !== "chat") Object.assign(keys, { s: () => this.actions.pass("skip"), f: () => this.actions.flag(), u: () => this.actions.undo() });
    if (this.isRank) keys.o = () => this.choose("ranked");
    if (this.isRank) for (const name of ["ArrowLeft", "ArrowRight", "ArrowDown", "a", "b"]) delete keys[name];
    const does = (this.isRank && this.ranker.key(key, state)) || keys[key];
    if (does) this.used.keys += 1;
    return does ?? null;
  }

  end() {
    this.draft.end();
  }
}

/** Without halves of surrogate pairs, which no encoding has. */
const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");

const KEYS_OF = { 0: "ArrowLeft A", 1: "ArrowRight B", tie: "ArrowDown T", bad: "X", ranked: "O" };

function stateOf(said) {
  const isTie = said.ranking.length === 1;
  const isPair = said.ranking.flat().length === 2;
  return {
    choice: said.all_bad ? "bad" : isTie ? "tie" : isPair ? said.ranking[0][0] : "ranked",
    strength: said.strength,
    note: said.note,
    edit: said.edit,
    order: isTie ? null : said.ranking,
    ...(said.ratings.length ? { ratings: said.ratings } : {}),
  };
}
