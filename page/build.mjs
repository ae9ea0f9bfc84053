// Makes docs/funil.js of what the compiler made of funil.ts, and writes its integrity hash into docs/funil-js.md. With
// --check it only says whether both are as the source makes them.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const script = path("../docs/funil.js");
const guide = path("../docs/funil-js.md");
const BYTES_MAX = 4096;

// A test compares the digest in the first line with the source, so that nobody forgets to build.
const digest = createHash("sha256").update(readFileSync(path("funil.ts"))).digest("hex");
const { code } = await minify(readFileSync(path("made/funil.js"), "utf8"), {
  ecma: 2017,
  compress: { passes: 3 },
  format: { preamble: `// page/funil.ts ${digest.slice(0, 12)}` },
});
const made = `${code}\n`;
const gzipped = gzipSync(made, { level: 9 }).length;
if (gzipped > BYTES_MAX) throw new Error(`It has ${gzipped} bytes gzipped, and may have ${BYTES_MAX}.`);

const integrity = `sha384-${createHash("sha384").update(made).digest("base64")}`;
const text = readFileSync(guide, "utf8").replace(/sha384-[A-Za-z0-9+/=]*/g, integrity);
for (const [file, content] of [[script, made], [guide, text]]) {
  if (!process.argv.includes("--check")) writeFileSync(file, content);
  else if (readFileSync(file, "utf8") !== content) throw new Error(`${file} is not what its source makes: run "npm run build".`);
}
console.log(`docs/funil.js: ${made.length} characters, ${gzipped} bytes gzipped`);
