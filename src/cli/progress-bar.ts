import type { PullProgress } from "../models/download/pull.ts";
import { bytes, duration, printJsonLine } from "./output.ts";

const redrawMs = 100;
const jsonEveryMs = 1_000;

/** The rate is that of so long before now. */
const rateWindowMs = 5_000;

/** Shows how a pull goes: a bar that is drawn over on a terminal, JSON lines elsewhere. */
export class PullDisplay {
  readonly #style: "bar" | "json" | "silent";
  #samples: { readonly at: number; readonly bytes: number }[] = [];
  #last: PullProgress | undefined;
  #drawnAt = -Infinity;
  #isDrawn = false;

  constructor(style: "bar" | "json" | "silent") {
    this.#style = style;
  }

  update(progress: PullProgress): void {
    const isNew = progress.phase !== this.#last?.phase || progress.file !== this.#last.file;
    if (isNew) this.#samples = [];
    this.#last = progress;
    const now = performance.now();
    if (!isNew && now - this.#drawnAt < (this.#style === "bar" ? redrawMs : jsonEveryMs)) return;
    this.#drawnAt = now;
    this.#samples = [...this.#samples.filter(({ at }) => now - at < rateWindowMs), { at: now, bytes: progress.bytes }];
    if (this.#style === "json") this.#printLine(progress);
    if (this.#style === "bar") this.#draw(progress, isNew);
  }

  /** Leaves the terminal's cursor at the start of a line. */
  end(): void {
    if (this.#isDrawn) process.stderr.write("\n");
    this.#isDrawn = false;
  }

  #printLine({ phase, file, bytes: done, totalBytes }: PullProgress): void {
    printJsonLine({ phase, file, bytes: done, total_bytes: totalBytes, bytes_per_second: Math.round(this.#rate()) });
  }

  #draw({ phase, file, bytes: done, totalBytes }: PullProgress, isNew: boolean): void {
    if (phase === "done") return;
    if (isNew) this.end();
    const rate = this.#rate();
    const title = phase === "waiting" ? "waiting for another download of it" : phase;
    const parts = [title, file ?? ""];
    if (phase === "downloading" || phase === "verifying") {
      if (totalBytes !== undefined) parts.push(bar(done / Math.max(1, totalBytes)));
      parts.push(
        totalBytes === undefined ? bytes(done) : `${bytes(done)} of ${bytes(totalBytes)}`,
        `${bytes(Math.round(rate))}/s`,
      );
      if (totalBytes !== undefined && rate > 0) parts.push(`${duration((totalBytes - done) / rate)} left`);
    }
    const line = parts.filter((part) => part !== "").join("  ");
    process.stderr.write(`\r\u001b[2K${line.slice(0, (process.stderr.columns || 80) - 1)}`);
    this.#isDrawn = true;
  }

  /** Bytes a second. */
  #rate(): number {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < redrawMs) return 0;
    return ((last.bytes - first.bytes) / (last.at - first.at)) * 1_000;
  }
}

function bar(fraction: number): string {
  const width = 24;
  const filled = Math.min(width, Math.floor(fraction * width));
  return `[${"=".repeat(filled)}${" ".repeat(width - filled)}] ${String(Math.floor(fraction * 100)).padStart(3)}%`;
}
