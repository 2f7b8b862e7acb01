// Serves the site's files from a cache that is named by the build; what it has not, it fetches
// and keeps. The build fills in its own hash and the files that every visit needs.

const PREFIX = `nogps ${registration.scope} `;
const CACHE = `${PREFIX}@BUILD@`;
const FILES = @FILES@;

addEventListener("install", (event) => event.waitUntil(fill()));

async function fill() {
  const cache = await caches.open(CACHE);
  // The browser's own cache may hold an older build's.
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
}

addEventListener("activate", (event) => event.waitUntil(takeOver()));

async function takeOver() {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  await Promise.all(old.map((name) => caches.delete(name)));
  await clients.claim();
}

addEventListener("message", (event) => {
  if (event.data.take) skipWaiting();
  if (event.data.keep) event.waitUntil(keep(event.data.keep, event.ports[0]));
});

async function keep(urls, port) {
  let kept = true;
  for (const url of urls) {
    try {
      const response = await serve(new Request(url));
      await response.body?.cancel();
      kept &&= response.ok;
    } catch {
      kept = false;
    }
  }
  port.postMessage({ kept });
}

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(registration.scope)) return;
  event.respondWith(serve(request));
});

async function serve(request) {
  const cache = await caches.open(CACHE);
  const { origin, pathname } = new URL(request.url);
  const path = origin + pathname;
  const key = path === registration.scope ? `${path}index.html` : path;
  const found = await cache.match(key);
  if (found) return found;
  const response = await fetch(request);
  if (response.status === 200) {
    try {
      await cache.put(key, response.clone());
    } catch {
      // No room: it works, but not offline.
    }
  }
  return response;
}
