import type { Logger } from "pino";
import type { Metrics } from "../health/metrics/metrics.ts";
import type { LlamapodError } from "../protocol/errors.ts";
import { after, joinable, noIntent, type Intent, type IntentEvent, type Move } from "./active-model.ts";
import type { Keeping } from "./keeping.ts";
import { Operation, Operations, type OperationProgress } from "./operations.ts";
import type { Queue } from "./queue.ts";
import type { Residents } from "./residents.ts";
import { isLeaving } from "./runner-state.ts";

export interface OperatorUser {
  /** A model's state is another one. */
  changed(modelId: string): void;
  settle(): void;
}

/** What the operator wants of the models, as operations, and which one is active: carries out what `active-model.ts` decides. */
export class Operator {
  readonly operations = new Operations();
  readonly #residents: Residents;
  readonly #queue: Queue;
  readonly #keeping: Keeping;
  readonly #metrics: Metrics;
  readonly #log: Logger;
  readonly #user: OperatorUser;
  readonly #unloads = new Map<string, Operation>();
  #intent: Intent = noIntent;

  constructor(residents: Residents, queue: Queue, keeping: Keeping, metrics: Metrics, log: Logger, user: OperatorUser) {
    this.#residents = residents;
    this.#queue = queue;
    this.#keeping = keeping;
    this.#metrics = metrics;
    this.#log = log;
    this.#user = user;
  }

  get intent(): Intent {
    return this.#intent;
  }

  /** What is to be loaded before anything else. */
  get wanted(): string | undefined {
    return this.#intent.wishes[0]?.modelId;
  }

  /** While one model takes the place of another, requests that name none are for the one that comes. */
  get successor(): string | undefined {
    const { activeModel, wishes } = this.#intent;
    const active = this.#residents.get(activeModel);
    const isActiveLeaving = active === undefined || active.closedAt !== undefined || isLeaving(active.runner.state);
    return wishes[0]?.kind === "switch" && isActiveLeaving ? wishes[0].modelId : undefined;
  }

  open(modelId: string | undefined): void {
    this.#happened({ type: "opened", modelId });
  }

  /** Asks for the same as one that is wanted last join it. */
  request(kind: "switch" | "load", modelId: string): Operation {
    this.#keeping.wake(modelId);
    this.#unloads.get(modelId)?.cancel();
    const known = joinable(this.#intent, kind, modelId);
    if (known !== undefined) return known;
    const wish = new Operation(kind, modelId, () => {
      this.#happened({ type: "called-off", wish });
      this.#user.settle();
    });
    this.operations.add(wish);
    this.#happened({ type: "wished", wish });
    return wish;
  }

  unload(modelId: string): Operation {
    const known = this.#unloads.get(modelId);
    if (known !== undefined) return known;
    for (const wish of this.#intent.wishes) if (wish.modelId === modelId) wish.cancel();
    const operation = new Operation("unload", modelId, () => {
      this.#callUnloadOff(operation);
    });
    this.operations.add(operation);
    this.#keeping.putToSleep(modelId);
    const resident = this.#residents.get(modelId);
    if (resident === undefined) operation.done();
    else {
      resident.isUnloading = true;
      this.#unloads.set(modelId, operation);
      operation.progressed({ phase: "draining", doneBytes: 0, totalBytes: 0 });
    }
    return operation;
  }

  /** Its file is gone: it goes when it has nothing to do, and is no longer the active one. */
  removed(modelId: string): void {
    const resident = this.#residents.get(modelId);
    if (resident !== undefined) resident.isUnloading = true;
    this.#happened({ type: "removed", modelId });
  }

  /** Ends what has come true. */
  complete(): void {
    while (this.wanted !== undefined && this.#residents.isReady(this.wanted)) {
      this.#happened({ type: "ready", modelId: this.wanted });
    }
  }

  progressed(progress: OperationProgress | undefined): void {
    if (progress !== undefined) this.#intent.wishes[0]?.progressed(progress);
  }

  /** It could not be loaded. */
  failed(modelId: string, error: LlamapodError): void {
    this.#happened({ type: "failed", modelId, error });
  }

  /** It has no runner any more. */
  gone(modelId: string): void {
    this.#unloads.get(modelId)?.done();
    this.#unloads.delete(modelId);
  }

  close(error: LlamapodError): void {
    this.#happened({ type: "closed", error });
    for (const operation of this.#unloads.values()) operation.failed(error);
  }

  #callUnloadOff(operation: Operation): void {
    const resident = this.#residents.get(operation.modelId);
    // It cannot be called back any more.
    if (resident === undefined || isLeaving(resident.runner.state)) return;
    resident.isUnloading = false;
    this.#unloads.delete(operation.modelId);
    operation.cancelled();
    this.#user.settle();
  }

  #happened(event: IntentEvent): void {
    const [current] = this.#intent.wishes;
    const { intent, moves } = after(this.#intent, event);
    this.#intent = intent;
    if (current !== undefined && !intent.wishes.includes(current)) this.#reopen();
    for (const move of moves) this.#make(move);
  }

  #make(move: Move): void {
    switch (move.type) {
      case "activated":
        if (move.to !== undefined) this.#keeping.wake(move.to);
        for (const modelId of new Set([move.from, move.to])) if (modelId !== undefined) this.#user.changed(modelId);
        this.#log.info({ from: move.from, to: move.to }, "active model");
        break;
      case "unnamed-moved":
        for (const job of this.#queue.jobs) if (job.isMovable && job.modelId === move.from) job.moveTo(move.to);
        break;
      case "called-off":
        move.wish.cancelled();
        this.#user.changed(move.wish.modelId);
        break;
      case "done":
        if (move.wish.kind === "switch") this.#metrics.models.switched("ok");
        move.wish.done();
        break;
      case "failed":
        if (move.wish.kind === "switch") this.#switchFailed(move.wish, move.error);
        move.wish.failed(move.error);
        this.#user.changed(move.wish.modelId);
        break;
    }
  }

  /** Who made room for a wish that is over has its time again, and makes room for what waits when that is over. */
  #reopen(): void {
    for (const resident of this.#residents.all) resident.closedAt = undefined;
  }

  #switchFailed({ modelId }: Operation, { message }: LlamapodError): void {
    this.#metrics.models.switched("failed");
    const { activeModel: active } = this.#intent;
    this.#log.error({ model: modelId, reason: message, active }, "switch failed, the old model stays");
  }
}
