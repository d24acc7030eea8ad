// Several answers put in order: drag them, or move the one in focus with the keyboard. Tied answers share a place.

import { $, announce, h, letter } from "./dom.js";

export class Ranker {
  /** `order`: groups of places on the screen, best first, or null. `changed(groups)` is told of every move. */
  constructor(list, cards, order, changed) {
    Object.assign(this, { list, cards, changed });
    const groups = order ?? cards.map((_, place) => [place]);
    this.order = groups.flat();
    this.dragged = null;
    this.tied = new Set(groups.flatMap((group) => group.slice(1))); // tied with the answer before
    cards.forEach((card, place) => this.equip(card, place));
    this.arrange();
  }

  equip(card, place) {
    const name = letter(place);
    const button = (label, text, does, key) => h("button", { type: "button", class: "plain", "aria-label": `${label} ${name}`, title: key, onclick: does }, text);
    const handle = h("span", { class: "handle", "aria-hidden": "true" }, "⠿");
    $("header", card).append(
      h("span", { class: "moves" }, button("Move up", "↑", () => this.move(place, -1), "Shift + ↑"), button("Move down", "↓", () => this.move(place, 1), "Shift + ↓"), button("Tie with the one above", "=", () => this.tie(place), "=")),
      handle,
    );
    handle.addEventListener("pointerdown", (event) => this.drag(event, card, place));
    card.dataset.place = place;
  }

  groups() {
    const groups = [];
    for (const place of this.order) {
      if (this.tied.has(place) && groups.length) groups.at(-1).push(place);
      else groups.push([place]);
    }
    return groups;
  }

  move(place, step) {
    const from = this.order.indexOf(place);
    const to = from + step;
    if (to < 0 || to >= this.order.length) return;
    this.put(place, to);
    this.cards[place].focus({ preventScroll: false });
  }

  put(place, to) {
    this.tied.delete(place);
    const behind = this.order[this.order.indexOf(place) + 1];
    if (behind !== undefined && this.tied.has(behind) && this.order.indexOf(place) === 0) this.tied.delete(behind);
    this.order = this.order.filter((other) => other !== place);
    this.order.splice(to, 0, place);
    this.tied.delete(this.order[0]);
    this.done(`${letter(place)} is number ${this.number(place)}`);
  }

  tie(place) {
    if (this.order[0] === place) return;
    if (!this.tied.delete(place)) this.tied.add(place);
    this.done(this.tied.has(place) ? `${letter(place)} is tied with the one above` : `${letter(place)} is on its own`);
  }

  done(text) {
    this.arrange();
    this.changed(this.groups());
    announce(text);
  }

  number(place) {
    return 1 + this.groups().findIndex((group) => group.includes(place));
  }

  /** Bring the cards into order. The one that is dragged or in focus stays where it is in the document, and the others move. */
  arrange() {
    const still = this.dragged ?? document.activeElement?.closest?.(".card");
    const middle = this.order.findIndex((place) => this.cards[place] === still);
    this.order.forEach((place, index) => {
      const card = this.cards[place];
      if (middle < 0 || index > middle) this.list.append(card);
      else if (index < middle) this.list.insertBefore(card, still);
      card.classList.toggle("tied", this.tied.has(place));
      $(".place", card).textContent = this.number(place);
      card.setAttribute("aria-label", `Answer ${letter(place)}, number ${this.number(place)}`);
    });
  }

  /** Follow the pointer; the card takes the place of the one whose middle it passes. */
  drag(event, card, place) {
    event.preventDefault();
    const handle = event.currentTarget;
    handle.setPointerCapture(event.pointerId);
    card.classList.add("dragged");
    this.dragged = card;
    let startY = event.clientY;
    const lay = (y) => (card.style.transform = y === null ? "" : `translateY(${y - startY}px)`);
    const follow = (move) => {
      lay(move.clientY);
      for (let passed = this.passed(place, move.clientY); passed; passed = this.passed(place, move.clientY)) {
        lay(null);
        const before = card.getBoundingClientRect().top;
        this.put(place, this.order.indexOf(place) + passed);
        startY += card.getBoundingClientRect().top - before;
        lay(move.clientY);
      }
    };
    const end = () => {
      handle.removeEventListener("pointermove", follow);
      card.classList.remove("dragged");
      this.dragged = null;
      lay(null);
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("lostpointercapture", end, { once: true });
  }

  /** Whether the pointer at height `y` is past the middle of the card above (-1) or below (1), or neither (0). */
  passed(place, y) {
    const here = this.order.indexOf(place);
    const middle = (index) => {
      const box = this.cards[this.order[index]].getBoundingClientRect();
      return box.top + box.height / 2;
    };
    if (here > 0 && y < middle(here - 1)) return -1;
    if (here < this.order.length - 1 && y > middle(here + 1)) return 1;
    return 0;
  }

  /** Moves of the card in focus; a letter goes to a card. */
  key(key) {
    const place = this.cards.indexOf(document.activeElement?.closest?.(".card"));
    const index = this.order.indexOf(place);
    const focus = (to) => () => this.cards[this.order[Math.max(0, Math.min(this.order.length - 1, to))]].focus();
    if (key === "ArrowDown") return focus(index + 1);
    if (key === "ArrowUp") return focus(index < 0 ? 0 : index - 1);
    if (place >= 0 && key === "Shift+ArrowUp") return () => this.move(place, -1);
    if (place >= 0 && key === "Shift+ArrowDown") return () => this.move(place, 1);
    if (place >= 0 && key === "=") return () => this.tie(place);
    if (/^[1-9]$/.test(key) && place >= 0 && Number(key) <= this.order.length) return () => (this.put(place, Number(key) - 1), this.cards[place].focus());
    return null;
  }
}

export const RANK_KEYS = [
  ["↑ ↓", "go to another answer"],
  ["Shift + ↑ ↓", "move it"],
  ["1 … 9", "put it there"],
  ["=", "tie with the one above"],
];
