import { createServer } from "node:net";
import { isMainThread } from "node:worker_threads";
import { heapInUse } from "./garbage.ts";

/** Imported into a server ahead of its own program. Whoever connects has its garbage collected, and is told the heap in use. */

export const probeVariable = "TEST_HEAP_PROBE";

const path = process.env[probeVariable];

if (path !== undefined && isMainThread) {
  const answering = createServer((socket) => {
    void heapInUse().then((bytes) => socket.end(String(bytes)));
  });
  answering.listen(path).unref();
}
