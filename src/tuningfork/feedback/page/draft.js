// What a person has begun with an item, kept through a reload; and how long the page with it was in front.

const KEY = "tuningfork-draft";

export class Draft {
  constructor(assignment, started = {}) {
    const kept = read();
    this.assignment = assignment;
    this.state = kept?.assignment === assignment ? kept.state : started;
    this.seconds = kept?.assignment === assignment ? kept.seconds : 0;
    this.since = document.hidden ? null : performance.now();
    this.watch = () => this.count();
    document.addEventListener("visibilitychange", this.watch);
  }

  /** Seconds with the page in front. */
  count() {
    if (this.since !== null) this.seconds += (performance.now() - this.since) / 1000;
    this.since = document.hidden ? null : performance.now();
    return this.seconds;
  }

  save(state) {
    this.state = state;
    localStorage.setItem(KEY, JSON.stringify({ assignment: this.assignment, state, seconds: this.count() }));
  }

  end() {
    document.removeEventListener("visibilitychange", this.watch);
    if (read()?.assignment === this.assignment) localStorage.removeItem(KEY);
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null; // cut short when the browser ended
  }
}
