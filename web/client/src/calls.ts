import type { CommandIds } from "./commandid.js";
import type { Connection } from "./connection.js";
import { MarketplaceError, refuse, type ClosedError } from "./errors.js";
import { cancel, failed, request, type Incoming } from "./frames.js";
import { before } from "./pause.js";
import { methods } from "./schema.gen.js";
import type { CallOptions, Method } from "./types.js";

/** What came back. */
export interface Raw {
  result: unknown;
  position?: string;
}

/** isCommand says whether a method needs a command id. One that only a newer schema knows is taken for a command. */
function isCommand(method: string): boolean {
  return !Object.hasOwn(methods, method) || methods[method as Method].kind === "command";
}

interface Pending {
  method: Method;
  params: unknown;
  commandId: string | undefined;
  attempt: number; // how often it was refused for the moment
  timer: ReturnType<typeof setTimeout> | undefined; // until it is asked again
  done: (answer: Raw) => void;
  failed: (error: Error) => void;
}

/** How calls are made. */
export interface Limits {
  retries: number;
  maxRequest: number;
}

/**
 * Calls are requests that are answered once. One without its answer is sent again with the next connection: a read may
 * be, and a command goes under the same id, so that the server decides it once.
 */
export class Calls {
  private readonly connection: Connection;
  private readonly ids: CommandIds;
  private readonly limits: Limits;
  private readonly pending = new Map<number, Pending>();

  constructor(connection: Connection, ids: CommandIds, limits: Limits) {
    this.connection = connection;
    this.ids = ids;
    this.limits = limits;
  }

  /** call asks, and waits for the answer. */
  call(method: Method, params: unknown, options: CallOptions): Promise<Raw> {
    const { signal } = options;
    return new Promise((done, fail) => {
      const state = this.connection.state;
      if (state.name === "closed" || signal?.aborted) {
        fail(state.name === "closed" ? state.error : signal?.reason);
        return;
      }
      if (new TextEncoder().encode(request(0, method, params)).length + 128 > this.limits.maxRequest) {
        fail(refuse("TOO_LARGE", `the request is larger than ${this.limits.maxRequest} bytes`, method));
        return;
      }
      const one: Pending = { method, params, commandId: options.commandId, attempt: 0, timer: undefined, done, failed: fail };
      const abort = () => this.abort(one, signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      one.done = (answer) => (signal?.removeEventListener("abort", abort), done(answer));
      one.failed = (error) => (signal?.removeEventListener("abort", abort), fail(error));
      this.send(this.connection.id(), one);
    });
  }

  /** resend sends what the last connection left unanswered, the oldest first. */
  resend(): void {
    for (const [id, one] of [...this.pending]) {
      this.send(id, one);
    }
  }

  /** heard takes an answer; false: it is no call's. */
  heard(message: Incoming): boolean {
    const one = this.pending.get(message.id as number);
    if (!one) {
      return false;
    }
    this.pending.delete(message.id as number);
    if (!message.error) {
      const position = message.meta?.position;
      one.done({ result: message.result, ...(position !== undefined && { position }) });
      return true;
    }
    const error = new MarketplaceError(failed(message.error), one.method, one.commandId);
    if (error.retryable && one.attempt < this.limits.retries) {
      const id = this.connection.id();
      this.pending.set(id, one);
      one.timer = setTimeout(() => this.send(id, one), before(error.retryAfter, one.attempt++));
    } else {
      one.failed(error);
    }
    return true;
  }

  /** end fails what waits. */
  end(error: ClosedError): void {
    const all = [...this.pending.values()];
    this.pending.clear();
    for (const one of all) {
      clearTimeout(one.timer);
      one.failed(error);
    }
  }

  /** send sends a call if there is a connection. Only then is the server's clock known, of which its command id is made. */
  private send(id: number, one: Pending): void {
    clearTimeout(one.timer);
    this.pending.set(id, one);
    if (this.connection.state.name !== "open") {
      return;
    }
    if (isCommand(one.method)) {
      one.commandId ??= this.ids.next();
    }
    this.connection.send(request(id, one.method, one.params, one.commandId));
  }

  private abort(one: Pending, reason: unknown): void {
    for (const [id, other] of this.pending) {
      if (other === one) {
        this.pending.delete(id);
        clearTimeout(one.timer);
        this.connection.send(cancel(id), false);
        one.failed(reason as Error);
        return;
      }
    }
  }
}
