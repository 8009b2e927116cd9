import { spawn } from "node:child_process";

/** Starts processes that each want a whole core, and have nothing to do with either server. Returns what ends them. */
export function startCompetitors(count: number): () => void {
  const processes = Array.from({ length: count }, () => spawn(process.execPath, ["--eval", "for (;;);"], { stdio: "ignore" }));
  const stop = (): void => {
    process.off("exit", stop);
    for (const competitor of processes) competitor.kill("SIGKILL");
  };
  process.once("exit", stop);
  return stop;
}
