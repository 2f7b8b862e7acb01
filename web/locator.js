// The page's side of the worker: asks, and waits for answers.

export class Locator {
  constructor(onProgress, onStop) {
    Object.assign(this, { onProgress, onStop });
    this.waiting = new Map();
    this.asked = 0;
  }

  /** Starts the worker afresh and loads the model; resolves with what is to be said of it. */
  load() {
    this.worker?.terminate();
    this.refuse("The worker was started again.");
    try {
      this.worker = new Worker("worker.js", { type: "module" });
    } catch {
      return Promise.reject(new Error("This browser cannot run the network in the background."));
    }
    this.worker.addEventListener("message", ({ data }) => this.hear(data));
    this.worker.addEventListener("error", (event) => {
      event.preventDefault();
      const why = "The worker stopped, or could not be loaded.";
      this.worker.terminate();
      this.worker = null;
      this.refuse(why);
      this.onStop(why);
    });
    const wasmOnly = new URLSearchParams(location.search).has("wasm");
    return this.ask("load", { wasmOnly });
  }

  /** { answer, scores, preview } of one photo. */
  locate(blob) {
    return this.ask("locate", { blob });
  }

  /** { answer } of several photos that show one place, by their scores. */
  together(scores) {
    return this.ask("together", { scores });
  }

  ask(job, given) {
    if (!this.worker) return Promise.reject(new Error("The model is not loaded."));
    const id = ++this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, job, ...given });
    });
  }

  hear({ id, result, error, progress }) {
    if (progress) return this.onProgress(progress);
    const { resolve, reject } = this.waiting.get(id) ?? {};
    this.waiting.delete(id);
    if (error) reject?.(new Error(error));
    else resolve?.(result);
  }

  refuse(why) {
    for (const { reject } of this.waiting.values()) reject(new Error(why));
    this.waiting.clear();
  }
}
