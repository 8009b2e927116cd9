import assert from "node:assert/strict";
import { once } from "node:events";
import { RunnerProcess } from "../../src/models/runner-process.ts";
import type { LoadCommand } from "../../src/protocol/runner.ts";
import { residentMemory } from "./runner-memory.ts";
import { cpuOnly, silent } from "./service.ts";

/** A runner without a server around it. */
export class TestRunner {
  readonly process: RunnerProcess;
  readonly #events = new EventTarget();

  constructor() {
    this.process = new RunnerProcess(cpuOnly, silent, this.#observer);
  }

  get #observer() {
    return {
      stateChanged: () => this.#events.dispatchEvent(new Event("change")),
      stepped: () => undefined,
      beat: () => undefined,
      sawVideoMemory: () => undefined,
    };
  }

  async load(command: LoadCommand): Promise<void> {
    this.process.load("tiny", command, this.#observer);
    while (this.process.state.name !== "ready") await once(this.#events, "change");
  }

  /** Its own memory, and the weights that it reads from the mapped file. */
  async residentBytes(): Promise<number> {
    const { own, mapped } = await residentMemory(this.process.pid ?? assert.fail("it does not run"));
    return own + mapped;
  }
}
