// Several answers put in order: drag them, or move the one in focus with the keyboard. Tied answers share a place.

import { $, announce, h, letter } from "./dom.js";

export class Ranker {
  /** `order`: groups of places on the screen, best first, or null. `changed(groups)` is told of every move. */
  constructor(list, cards, order, changed) {
    Object.assign(this, { list, cards, changed });
    const groups = order ?? cards.map((_, place) => [place]);
    this.order = groups.flat();
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

  arrange() {
    const focused = document.activeElement;
    this.order.forEach((place, index) => {
      const card = this.cards[place];
      if (this.list.children[index] !== card) this.list.insertBefore(card, this.list.children[index] ?? null);
      card.classList.toggle("tied", this.tied.has(place));
      $(".place", card).textContent = this.number(place);
      card.setAttribute("aria-label", `Answer ${letter(place)}, number ${this.number(place)}`);
    });
    if (focused && this.list.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** Follow the pointer; the card takes the place of the one whose middle it passes. */
  drag(event, card, place) {
    event.preventDefault();
    const handle = event.currentTarget;
    handle.setPointerCapture(event.pointerId);
    card.classList.add("dragged");
    let startY = event.clientY;
    const follow = (move) => {
      card.style.transform = `translateY(${move.clientY - startY}px)`;
      const here = this.order.indexOf(place);
      const box = (index) => this.cards[this.order[index]].getBoundingClientRect();
      const up = here > 0 && move.clientY < box(here - 1).top + box(here - 1).height / 2;
      const down = here < this.order.length - 1 && move.clientY > box(here + 1).top + box(here + 1).height / 2;
      if (!up && !down) return;
      card.style.transform = "";
      const before = card.getBoundingClientRect().top;
      this.put(place, here + (up ? -1 : 1));
      startY += card.getBoundingClientRect().top - before;
      card.style.transform = `translateY(${move.clientY - startY}px)`;
    };
    const end = () => {
      handle.removeEventListener("pointermove", follow);
      card.classList.remove("dragged");
      card.style.transform = "";
      this.changed(this.groups());
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("lostpointercapture", end, { once: true });
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
