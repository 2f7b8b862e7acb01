// Calls a test's JavaScript with what comes in as JSON; prints the answer as JSON.
import { text } from "node:stream/consumers";

const { code, given } = JSON.parse(await text(process.stdin));
const web = (name) => import(new URL(`../../../web/${name}`, import.meta.url));
const AsyncFunction = (async () => {}).constructor;
const found = await new AsyncFunction("web", "given", code)(web, given);
process.stdout.write(JSON.stringify(found));
