// Talking with the model: each turn it offers two replies, and the talk goes on with the one that is chosen, or written.

import { Problem, act, get, trouble } from "./api.js";
import { $, announce, h, kbd } from "./dom.js";
import { ItemView } from "./item.js";
import { nodesOf } from "./text.js";

export class Talk {
  constructor(main, me, progress) {
    Object.assign(this, { main, me, progress });
    this.view = null;
  }

  async start() {
    this.show(await get("talk"));
  }

  show(state) {
    this.view?.end();
    this.view = null;
    this.state = state;
    const turns = state.turns.map(({ role, text }) => h("div", { class: `turn ${role}` }, h("p", { class: "role" }, role === "user" ? "You" : "Model"), h("div", { class: "text", dir: "auto" }, nodesOf(text))));
    const transcript = h("section", { class: "talk", "aria-label": "The talk so far" }, turns);
    this.main.replaceChildren(h("h1", {}, "Talk, and choose the better reply"), transcript, this.below(state));
    this.main.lastElementChild.scrollIntoView({ block: "end" });
    $("textarea", this.main)?.focus();
  }

  below(state) {
    if (!state.item) return this.composer();
    this.view = new ItemView(state.item, { ...this.me.project }, { send: (judgement) => this.choose(judgement), undo: () => {}, pass: () => {}, flag: () => {} });
    announce("Two replies. Choose the better one.");
    return this.view.element;
  }

  composer() {
    const area = h("textarea", { rows: "3", dir: "auto", "aria-label": "What you say", placeholder: this.state.turns.length ? "Go on …" : "Say something to the model …", maxlength: "20000" });
    const say = () => area.value.trim() && this.say(area.value.trim());
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      event.stopPropagation();
      say();
    });
    const fresh = this.state.turns.length ? h("button", { type: "button", class: "plain", onclick: () => this.fresh() }, "Begin a new talk") : null;
    return h("div", { class: "composer" }, area, h("div", { class: "row" }, fresh, h("button", { type: "button", class: "primary", onclick: say }, "Say ", kbd("⏎"))));
  }

  async say(text) {
    const waiting = [...this.state.turns, { role: "user", text }];
    this.show({ ...this.state, turns: waiting, item: null });
    $(".composer", this.main).replaceWith(h("p", { class: "quiet thinking", role: "status" }, "The model is writing two replies …"));
    await this.follow(() => act("talk/say", { conversation: this.state.conversation, turn: this.state.turns.length - 1, text }));
  }

  async choose(judgement) {
    document.body.classList.add("busy");
    await this.follow(async () => {
      const found = await act("judge", judgement);
      this.progress(found.progress);
      return get("talk");
    });
    document.body.classList.remove("busy");
  }

  async fresh() {
    await this.follow(() => act("talk/new", {}));
  }

  async follow(work) {
    try {
      this.show(await work());
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      trouble(error.message);
      this.show(await get("talk"));
    }
  }

  end() {
    this.view?.end();
  }
}
