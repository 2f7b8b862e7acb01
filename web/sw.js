// Serves the site's files from a cache that is named by the build; what it has not, it fetches
// and keeps. The build fills in its own hash and the files that every visit needs.

const PREFIX = `nogps ${registration.scope} `;
const CACHE = `${PREFIX}@BUILD@`;
const FILES = @FILES@;
// A worker does not take over the page's policy: served from here, it may load from here alone too.
const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

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
  const cache = await caches.open(CACHE);
  for (const url of urls) {
    try {
      if (!(await cache.match(url))) await cache.add(new Request(url, { cache: "no-cache" }));
    } catch {
      kept = false; // no connection, or no room
    }
  }
  port.postMessage({ kept });
}

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(registration.scope)) return;
  event.respondWith(serve(request, event));
});

async function serve(request, event) {
  const cache = await caches.open(CACHE);
  const { origin, pathname } = new URL(request.url);
  const path = origin + pathname;
  const key = path === registration.scope ? `${path}index.html` : path;
  const found = await cache.match(key);
  if (found) return key.endsWith("/worker.js") ? held(found) : found;
  const response = await fetch(new Request(request, { cache: "no-cache" }));
  // Where there is no room, it works, but not offline.
  if (response.status === 200) event.waitUntil(cache.put(key, response.clone()).catch(() => {}));
  return response;
}

/** The same answer, whose script may load from here alone. */
function held({ body, headers }) {
  const more = new Headers(headers);
  more.set("Content-Security-Policy", POLICY);
  return new Response(body, { headers: more });
}
