// Build orchestrator/views/report/page.js from src/. `npm ci && npm run build`; a test holds the hash of the sources.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const sources = [...readdirSync("src").sort().map((name) => `src/${name}`), "package-lock.json"];
const hash = createHash("sha256");
for (const name of sources) hash.update(readFileSync(name));

const made = await build({
  entryPoints: ["src/main.js"], bundle: true, minify: true, write: false, metafile: true, charset: "utf8",
  format: "iife", target: "es2022", legalComments: "none",
});
const packages = new Set(Object.keys(made.metafile.inputs).map((path) => path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]).filter(Boolean));
const notices = [...packages].sort().map((name) => {
  const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  const licence = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
  return `${name} ${about.version} (${about.license})\n\n${licence}\n`;
});
const out = "../orchestrator/views/report";
const script = made.outputFiles[0].text.trim().replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
writeFileSync(`${out}/page.js`, `/* Built from web/, sources ${hash.digest("hex")}. Licences of what is in it: page.licenses.txt */\n${script}\n`);
writeFileSync(`${out}/page.licenses.txt`, notices.join("\n---\n\n"));
console.log(`page.js: ${(script.length / 1024).toFixed(0)} KB, with ${[...packages].sort().join(", ")}`);
