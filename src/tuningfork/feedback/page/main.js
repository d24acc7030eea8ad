// The page: who is here, what is on the screen, keys, progress.

import { Problem, act, deliverOld, get, tell, trouble } from "./api.js";
import { $, announce, h } from "./dom.js";
import { ItemView } from "./item.js";
import { setUpLead } from "./lead.js";
import { prose } from "./prose.js";
import { RANK_KEYS } from "./rank.js";
import { Talk } from "./talk.js";
import { nodesOf } from "./text.js";

const REASONS = ["The prompt makes no sense", "The prompt or an answer is harmful", "I know who wrote one of the answers", "It shows somebody's personal data", "Something else"];
const LOOK_AGAIN = 10_000;
const LOOK_AGAIN_SOON = 1_000; // while answers are drawn
const RENEW_EVERY = 120_000;

const page = { me: null, view: null, talk: null, mode: "compare", isBusy: false };

async function start() {
  theme(localStorage.getItem("tuningfork-theme"));
  try {
    page.me = await get("me");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    $("#main").replaceChildren(h("div", { class: "notice" }, h("h1", {}, "Welcome"), h("p", {}, "Open the link that you were given: it lets you in here.")));
    return;
  }
  document.title = page.me.project.title;
  $("#show-guidelines").hidden = !page.me.project.guidelines;
  $("#guidelines .prose").replaceChildren(...prose(page.me.project.guidelines));
  $("#modes").hidden = !page.me.can_talk;
  if (page.me.is_lead) setUpLead($("#show-lead"), $("#lead"));
  setUpFlag();
  progress(page.me.progress);
  await deliverOld();
  setInterval(renew, RENEW_EVERY);
  const { wanted, is_drawing } = page.me.progress;
  if (page.me.can_talk && (location.hash === "#talk" || !(wanted || is_drawing))) return mode("talk");
  await next();
}

async function next() {
  const found = await get("next");
  progress(found.progress);
  show(found.item);
}

function show(item, said = null) {
  page.view?.end();
  if (!item) return finished();
  page.view = new ItemView(item, page.me.project, { send, pass, undo, flag: () => $("#flag").showModal() }, said);
  const title = h("h1", {}, nodesOf(page.me.project.title));
  $("#main").replaceChildren(title, page.view.element);
  window.scrollTo(0, 0);
  $("#main").focus({ preventScroll: true });
  announce(`Next: ${item.prompt.at(-1).text.slice(0, 300)}`);
}

function finished() {
  page.view = null;
  const { is_drawing, fault } = page.progress;
  setTimeout(() => page.mode === "compare" && !page.view && next(), is_drawing ? LOOK_AGAIN_SOON : LOOK_AGAIN);
  if (is_drawing) return notice("Answers are being drawn", h("p", { class: "quiet" }, "They appear here by themselves."));
  if (fault) trouble(`No more answers can be drawn: ${fault}`);
  const again = h("p", { class: "quiet" }, "New ones appear here by themselves.");
  const back = h("button", { type: "button", onclick: undo }, "Undo the last one ", h("kbd", {}, "U"));
  notice("All done, thank you", h("p", {}, `${count(page.progress.mine, "judgement")} by you.`), again, page.progress.mine ? back : null);
}

/** Said instead of an item; announced where it was not said before. */
function notice(title, ...parts) {
  if ($("#main h1")?.textContent !== title) announce(`${title}.`);
  $("#main").replaceChildren(h("div", { class: "notice" }, h("h1", {}, title), ...parts));
}

/** One action at a time; what the server refuses is shown, and the screen follows the server. */
async function once(work) {
  if (page.isBusy) return;
  page.isBusy = true;
  document.body.classList.add("busy");
  try {
    const found = await work();
    if (found.outcome === "late") trouble("Somebody else has judged that one meanwhile: your page was away for long. It is kept, and not counted.");
    progress(found.progress);
    show(found.item, found.judgement);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    trouble(sentence(error.message));
    if (error.status !== 422) await next();
  } finally {
    page.isBusy = false;
    document.body.classList.remove("busy");
  }
}

const send = (judgement) => once(() => act("judge", judgement));
const pass = (how, reason = "") => once(() => act(how, { assignment: page.view.item.assignment, reason }));

async function undo() {
  if (page.isBusy) return;
  if (!page.progress.mine && !page.view) return;
  await once(() => act("undo", {}));
}

function renew() {
  if (page.view && page.mode === "compare") tell("renew", { assignment: page.view.item.assignment }).catch(() => {});
}

function progress(state) {
  page.progress = state;
  const left = state.pace && state.left ? `, about ${duration(state.pace * state.left)}` : "";
  const parts = [h("b", {}, state.mine.toLocaleString()), " by you", h("span", { class: "wide" }, ` · ${state.left.toLocaleString()} left${left}`)];
  if (state.pace) parts.push(h("span", { class: "wide" }, ` · ${Math.round(state.pace)} s each`));
  $("#progress").replaceChildren(...parts);
  const bar = $("#bar");
  bar.hidden = !state.wanted;
  bar.setAttribute("aria-valuemax", state.wanted);
  bar.setAttribute("aria-valuenow", Math.min(state.judged, state.wanted));
  $("i", bar).style.width = `${(100 * Math.min(state.judged, state.wanted)) / Math.max(1, state.wanted)}%`;
}

function duration(seconds) {
  const minutes = Math.max(1, Math.round(seconds / 60));
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function mode(name) {
  page.mode = name;
  for (const button of $("#modes").children) button.setAttribute("aria-pressed", String(button.dataset.mode === name));
  history.replaceState(null, "", name === "talk" ? "#talk" : location.pathname);
  trouble("");
  page.talk?.end();
  page.talk = null;
  if (name === "compare") return next();
  page.view?.end();
  page.view = null;
  page.talk = new Talk($("#main"), page.me, progress);
  return page.talk.start();
}

function setUpFlag() {
  const form = $("#flag .reasons");
  const other = h("input", { type: "text", maxlength: "500", "aria-label": "In your words", placeholder: "In your words (optional)" });
  const pick = (reason) => {
    $("#flag").close();
    pass("flag", [reason, other.value.trim()].filter(Boolean).join(": "));
    other.value = "";
  };
  form.append(...REASONS.map((reason) => h("button", { type: "button", onclick: () => pick(reason) }, reason)), other);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    pick("Something else");
  });
}

function theme(name) {
  if (name === "light" || name === "dark") {
    document.documentElement.dataset.theme = name;
    localStorage.setItem("tuningfork-theme", name);
  }
}

const PAIR_KEYS = [
  ["← or A", "the left answer, A, is better"],
  ["→ or B", "the right answer, B, is better"],
  ["↓ or T", "a tie"],
  ["X", "both are bad"],
  ["1 2 3", "slightly, clearly, strongly better"],
  ["Enter", "send"],
  ["U", "undo: the last one comes back"],
  ["S", "skip"],
  ["F", "flag: something is wrong with it"],
  ["E", "edit: write the better answer"],
  ["N", "note"],
  ["D", "mark the words that differ"],
  ["R", "ratings"],
  ["Ctrl + Enter", "send while you write"],
  ["G", "guidelines"],
  ["?", "this list"],
];

function showKeys() {
  const keys = page.view?.isRank ? [...RANK_KEYS, ...PAIR_KEYS.slice(5).map(([key, does]) => [key, does]), ["T", "all are equal"], ["X", "all are bad"]] : PAIR_KEYS;
  $("#keys dl").replaceChildren(...keys.flatMap(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]));
  $("#keys").showModal();
}

document.addEventListener("keydown", (event) => {
  if ($("dialog[open]") || event.isComposing) return;
  const target = event.target;
  const isTyping = target.matches("textarea, input[type=text]");
  const view = page.view ?? page.talk?.view;
  if (event.key === "Escape" && isTyping) {
    target.blur();
    $("#main").focus({ preventScroll: true });
    return;
  }
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    view?.send();
    return;
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.matches("input[type=radio]") && event.key.startsWith("Arrow")) return;
  if (["Enter", " "].includes(event.key) && target.matches("button, a, summary") && target.getAttribute("aria-pressed") !== "true") return;
  const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const does = keyOf(key, view);
  if (!does) return;
  event.preventDefault();
  does();
});

function keyOf(key, view) {
  if (key === "g" && page.me?.project.guidelines) return () => $("#guidelines").showModal();
  if (key === "?") return showKeys;
  if (view) return view.key(key);
  return key === "u" && page.mode === "compare" ? undo : null;
}

$("#show-guidelines").addEventListener("click", () => $("#guidelines").showModal());
$("#show-keys").addEventListener("click", showKeys);
$("#theme").addEventListener("click", () => {
  const isDark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  theme(isDark ? "light" : "dark");
});
$("#modes").addEventListener("click", (event) => event.target.dataset.mode && mode(event.target.dataset.mode));
for (const dialog of document.querySelectorAll("dialog")) dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

start();
