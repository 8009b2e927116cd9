import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of this process's heap that are in use, when garbage has been collected and what waits for that has been called. */
export async function heapInUse(): Promise<number> {
  setFlagsFromString("--expose-gc");
  for (let round = 0; round < 3; round++) {
    runInNewContext("gc()");
    await setImmediate();
  }
  return process.memoryUsage().heapUsed;
}
