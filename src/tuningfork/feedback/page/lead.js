// What a lead sees beside the items: how far the project is, what to take away, and the way to training.

import { Problem, act, get } from "./api.js";
import { $, h } from "./dom.js";
import { nodesOf } from "./text.js";

export function setUpLead(button, dialog) {
  button.hidden = false;
  let timer = null;
  const show = async () => $(".body", dialog).replaceChildren(...body(await get("project"), show));
  button.addEventListener("click", async () => {
    await show();
    dialog.showModal();
    timer = setInterval(show, 3000);
  });
  dialog.addEventListener("close", () => clearInterval(timer));
}

function body(project, refresh) {
  const rows = project.annotators.map(({ name, judgements, pace }) => h("tr", {}, h("th", { scope: "row" }, nodesOf(name)), h("td", {}, judgements.toLocaleString()), h("td", {}, pace ? `${Math.round(pace)} s` : "–")));
  const table = h("table", {}, h("thead", {}, h("tr", {}, ["who", "judgements", "each"].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, rows));
  const links = [["api/export", "Judgements (JSON Lines)"], ["api/demonstrations", "Better answers that were written"], project.has_backup && ["api/backup", "Backup of the database"], project.quality && [project.quality, "Quality"]];
  return [
    h("p", {}, h("b", {}, project.judged.toLocaleString()), ` of ${project.wanted.toLocaleString()} judgements`),
    table,
    h("ul", { class: "links" }, links.filter(Boolean).map(([href, name]) => h("li", {}, h("a", { href }, name)))),
    ...training(project, refresh),
  ];
}

function training(project, refresh) {
  if (!project.training) return [];
  const { rounds, ready, says } = project.training;
  const running = rounds.some((round) => round.state === "running");
  const train = h("button", { type: "button", class: "primary", disabled: running || !ready, onclick: start }, "Train now");
  async function start() {
    train.disabled = true;
    try {
      await act("train", {});
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      $(".says").textContent = error.message;
      return;
    }
    await refresh();
  }
  const list = rounds.map((round) =>
    h("li", {}, `Round ${round.number}: ${round.num_judgements.toLocaleString()} judgements, ${round.state}`, round.message ? h("span", { class: "quiet" }, " ", nodesOf(round.message)) : null, round.has_report ? [" ", h("a", { href: `rounds/${round.number}/report`, target: "_blank", rel: "noopener" }, "report")] : null),
  );
  return [h("h3", {}, "Training"), h("p", { class: "says quiet" }, nodesOf(says)), train, h("ol", { class: "rounds" }, list)];
}
