// Runs steps of Python on MicroPython's WebAssembly build: node wasm.mjs MICROPYTHON.MJS < job
//
// job: JSON {heap: bytes, files: {path in there: path here}, steps: [[name, code]]}. Garbage is collected between steps
// alone: this build cannot look into a stack that is in use. A step that raises is told on stderr with its name, the
// others run; the exit code says whether all went well.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const { loadMicroPython } = await import(pathToFileURL(process.argv[2]));
const job = JSON.parse(readFileSync(0, "utf8"));
const python = await loadMicroPython({ heapsize: job.heap, linebuffer: false, stdout: (data) => process.stdout.write(data) });

const made = new Set();
for (const [there, here] of Object.entries(job.files)) {
  const parts = there.split("/").slice(1, -1);
  for (let n = 1; n <= parts.length; n++) {
    const folder = "/" + parts.slice(0, n).join("/");
    if (!made.has(folder)) {
      python.FS.mkdir(folder);
      made.add(folder);
    }
  }
  python.FS.writeFile(there, readFileSync(here));
}

let failed = 0;
for (const [name, code] of job.steps) {
  try {
    python.runPython(code);
  } catch (error) {
    failed += 1;
    process.stderr.write(`${name}: ${error.message}\n`);
  }
}
process.exitCode = failed ? 1 : 0;
