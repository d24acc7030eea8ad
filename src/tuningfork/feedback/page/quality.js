// The buttons of the quality page: leave an annotator out or take the annotator in again, put an item on one's own screen.

import { Problem, newId, tell } from "./api.js";
import { $ } from "./dom.js";

async function send(button, path, body, after) {
  button.disabled = true;
  try {
    await tell(path, body);
    after();
  } catch (error) {
    button.disabled = false;
    const box = $("#trouble");
    box.textContent = error instanceof Problem ? error.message : "The server does not answer; try again.";
    box.hidden = false;
  }
}

for (const button of document.querySelectorAll("button.exclude")) {
  button.addEventListener("click", () => {
    const isExcluded = button.dataset.excluded !== "1";
    const reason = isExcluded ? prompt("Why? (It can be taken back.)", "") : "";
    if (reason === null) return;
    send(button, "quality/exclude", { id: newId(), annotator: button.dataset.annotator, is_excluded: isExcluded, reason }, () => location.reload());
  });
}

for (const button of document.querySelectorAll("button.adjudicate")) {
  button.addEventListener("click", () => send(button, "quality/adjudicate", { item: button.dataset.item }, () => location.assign("./")));
}
