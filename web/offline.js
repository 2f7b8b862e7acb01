// The service worker: the page opens again without a network once it was open with one.

const PATIENCE = 1000; // ms that the start waits, so that large files are fetched once, through it

export const canBeOffline = "serviceWorker" in navigator;

/** Registers the service worker; resolves when it serves the page, or after a second. */
export async function register(onUpdate) {
  if (!canBeOffline) return;
  const { serviceWorker } = navigator;
  const served = new Promise((resolve) => {
    if (serviceWorker.controller) resolve();
    serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
  const registered = serviceWorker.register("sw.js").then((registration) => {
    const offer = (worker) => worker && serviceWorker.controller && onUpdate(() => replace(worker));
    offer(registration.waiting);
    registration.addEventListener("updatefound", () => {
      const { installing } = registration;
      installing.addEventListener("statechange", () => {
        if (installing.state === "installed") offer(installing);
      });
    });
  });
  registered.catch(() => {}); // the page works without
  const refused = registered.then(
    () => served,
    () => {},
  );
  await Promise.race([refused, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
}

function replace(worker) {
  if (worker.state === "activated") return location.reload(); // another tab was first
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
  worker.postMessage({ take: "over" });
}

/** Has files kept that are fetched only when needed; true if all of them are. */
export async function keep(urls) {
  if (!canBeOffline) return false;
  const refused = new Promise((resolve) => setTimeout(() => resolve(null), 30_000));
  const registration = await Promise.race([navigator.serviceWorker.ready, refused]);
  if (!registration) return false;
  const { port1, port2 } = new MessageChannel();
  const kept = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data.kept);
  });
  const absolute = urls.map((url) => new URL(url, location.href).href);
  registration.active.postMessage({ keep: absolute }, [port2]);
  return kept;
}
