// Talking to the server. What a person did is kept here until the server says that it has it, through reloads and lost answers.

import { $ } from "./dom.js";

const OUTBOX = "tuningfork-outbox-";

export class Problem extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export const newId = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function call(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Problem(body.error ?? `the server said ${answer.status}`, answer.status);
  return body;
}

const isTransient = (error) => !(error instanceof Problem) || error.status >= 500 || error.status === 429;

/** Call until there is an answer; says that it is trying. */
async function insist(work) {
  for (let tries = 0; ; tries++) {
    try {
      const found = await work();
      trouble("");
      return found;
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (tries) trouble("The server does not answer. What you did is kept here; trying again …");
      await wait(Math.min(300 * 2 ** tries, 5000));
    }
  }
}

export function trouble(text) {
  const box = $("#trouble");
  box.textContent = text;
  box.hidden = !text;
}

export const get = (path, query = {}) => insist(() => call(`api/${path}?${new URLSearchParams(query)}`));

/** Post something that may be said twice or not at all, without insisting. */
export const tell = (path, body) =>
  call(`api/${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** Do an action: it gets an id, and is sent until the server has it, also after a reload. */
export async function act(path, body) {
  const action = { path, body: { id: newId(), ...body } };
  localStorage.setItem(OUTBOX + action.body.id, JSON.stringify(action));
  return deliver(action);
}

async function deliver({ path, body }) {
  const found = await insist(() => tell(path, body)).catch((error) => {
    localStorage.removeItem(OUTBOX + body.id);
    throw error;
  });
  localStorage.removeItem(OUTBOX + body.id);
  return found;
}

/** Send what an earlier page could not. What the server refuses is dropped: it has said why it cannot be. */
export async function deliverOld() {
  for (const key of Object.keys(localStorage).filter((name) => name.startsWith(OUTBOX))) {
    try {
      await deliver(JSON.parse(localStorage.getItem(key)));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }
}
