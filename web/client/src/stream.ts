import type { Watch, Watches } from "./watches.js";
import { methods } from "./schema.gen.js";
import type { Push, StreamMethod, WatchOptions } from "./types.js";

/** How many pushes of an EVENT stream wait for a slow reader before the server is asked to wait, too. */
const room = 256;

/**
 * Stream is a watch that is read by for await. Of a STATE stream a slow reader gets the newest push alone; of an EVENT
 * stream every push: when too many wait, the subscription is given up, and taken up again after the last of them.
 */
export class Stream<M extends StreamMethod> implements AsyncIterableIterator<Push<M>> {
  private readonly watches: Watches;
  private readonly method: M;
  private readonly request: object;
  private readonly options: WatchOptions;
  private readonly waiting: Push<M>[] = [];
  private watch: Watch | undefined; // from the first reading on
  private reader: { done: (r: IteratorResult<Push<M>>) => void; failed: (e: unknown) => void } | undefined;
  private end: { error?: unknown } | undefined;
  private readonly onAbort = () => this.finish({ error: this.options.signal?.reason });

  constructor(watches: Watches, method: M, request: object, options: WatchOptions) {
    this.watches = watches;
    this.method = method;
    this.request = request;
    this.options = options;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** next returns the next push, and waits for it. */
  next(): Promise<IteratorResult<Push<M>>> {
    this.start();
    const push = this.waiting.shift();
    if (push) {
      if (this.waiting.length === 0 && this.watch) {
        this.watches.release(this.watch);
      }
      return Promise.resolve({ done: false, value: push });
    }
    if (this.end) {
      const { error } = this.end;
      this.end = {};
      return error === undefined ? Promise.resolve({ done: true, value: undefined }) : Promise.reject(error);
    }
    return new Promise((done, failed) => (this.reader = { done, failed }));
  }

  /** return ends the watch, as break does. */
  return(): Promise<IteratorResult<Push<M>>> {
    this.finish({});
    this.waiting.length = 0;
    return Promise.resolve({ done: true, value: undefined });
  }

  private start(): void {
    if (this.watch || this.end) {
      return;
    }
    const { signal, onBegin, after } = this.options;
    if (signal?.aborted) {
      this.finish({ error: signal.reason });
      return;
    }
    signal?.addEventListener("abort", this.onAbort, { once: true });
    this.watch = this.watches.start(this.method, this.request, {
      onPush: (push) => this.take(push as Push<M>),
      onEnd: (error) => this.finish({ error }),
      ...(onBegin && { onBegin }),
      ...(after !== undefined && { after }),
    });
  }

  private take(push: Push<M>): void {
    if (this.reader) {
      const { done } = this.reader;
      this.reader = undefined;
      done({ done: false, value: push });
      return;
    }
    if (methods[this.method].kind === "STATE") {
      const passed = this.waiting.pop();
      this.waiting.push(passed?.recovered === false ? { ...push, recovered: false } : push);
      return;
    }
    if (this.waiting.push(push) >= room && this.watch) {
      this.watches.hold(this.watch);
    }
  }

  private finish(end: { error?: unknown }): void {
    if (this.end) {
      return;
    }
    this.end = end;
    this.options.signal?.removeEventListener("abort", this.onAbort);
    if (this.watch) {
      this.watches.stop(this.watch);
    }
    if (this.reader) {
      const { done, failed } = this.reader;
      this.reader = undefined;
      this.end = {};
      end.error === undefined ? done({ done: true, value: undefined }) : failed(end.error);
    }
  }
}
