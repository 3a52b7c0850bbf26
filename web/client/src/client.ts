import { Calls } from "./calls.js";
import { CommandIds } from "./commandid.js";
import { Connection } from "./connection.js";
import { Stream } from "./stream.js";
import { Watches } from "./watches.js";
import type {
  Answer, CallMethod, CallOptions, Options, Push, Request, Response, State, StreamMethod, Subscriber, WatchOptions,
} from "./types.js";

/**
 * MarketplaceClient keeps one connection open to the marketplace. Calls without an answer are sent again with the next
 * connection, commands under the same id, so that the server decides them once. Watches go on after the last position;
 * what cannot be continued says so.
 */
export class MarketplaceClient {
  private readonly ids = new CommandIds();
  private readonly connection: Connection;
  private readonly calls: Calls;
  private readonly watches: Watches;
  private readonly online = () => this.connection.hurry();

  /** Begins to connect, and goes on until it is closed. */
  constructor(options: Options) {
    this.connection = new Connection(options, this.ids, {
      opened: () => {
        this.watches.resume();
        this.calls.resend();
      },
      lost: () => this.watches.lost(),
      heard: (message) => {
        if (message.id == null) {
          this.watches.pushed(message.method ?? "", message.params ?? {});
        } else if (!this.calls.heard(message)) {
          this.watches.answered(message);
        }
      },
      ended: (error) => {
        globalThis.removeEventListener?.("online", this.online);
        this.calls.end(error);
        this.watches.end(error);
      },
    });
    this.calls = new Calls(this.connection, this.ids, { retries: options.retries ?? 8, maxRequest: options.maxRequest ?? 65_536 });
    this.watches = new Watches(this.connection);
    globalThis.addEventListener?.("online", this.online);
    void this.connection.run();
  }

  /** Where the connection stands. */
  get state(): State {
    return this.connection.state;
  }

  /** Calls a listener with each new state, until the function that it returns is called. */
  onState(listener: (state: State) => void): () => void {
    return this.connection.onState(listener);
  }

  /** Waits until a connection stands; fails with a ClosedError when there will be none. */
  ready(): Promise<void> {
    return new Promise((done, failed) => {
      let stop = () => {};
      const look = (state: State) => {
        if (state.name === "open" || state.name === "closed") {
          stop();
          state.name === "open" ? done() : failed(state.error);
        }
      };
      stop = this.onState(look);
      look(this.state);
    });
  }

  /**
   * Asks, and returns the answer. A refusal is a MarketplaceError; one that is about the moment is asked again, when the
   * server said or after a pause that grows.
   */
  async call<M extends CallMethod>(method: M, request: Request<M>, options: CallOptions = {}): Promise<Response<M>> {
    return (await this.request(method, request, options)).result;
  }

  /** Is call, and also returns the position that the answer came with. */
  async request<M extends CallMethod>(method: M, request: Request<M>, options: CallOptions = {}): Promise<Answer<M>> {
    return (await this.calls.call(method, request, options)) as Answer<M>;
  }

  /** Makes a command id, by the server's clock: for who wants to ask again with the same, also after this page was left. */
  commandId(): string {
    return this.ids.next();
  }

  /**
   * Hears a stream: for await (const push of client.watch(…)). It begins when it is first read, and ends when the loop
   * is left. Of a STATE stream a slow reader gets the newest push; of an EVENT stream every item, once, in order.
   */
  watch<M extends StreamMethod>(method: M, request: Request<M>, options: WatchOptions = {}): AsyncIterableIterator<Push<M>> {
    return new Stream(this.watches, method, request, options);
  }

  /** Hears a stream through functions, until the one that it returns is called. */
  subscribe<M extends StreamMethod>(method: M, request: Request<M>, subscriber: Subscriber<M>): () => void {
    const { signal } = subscriber;
    if (this.state.name === "closed" || signal?.aborted) {
      const error = this.state.name === "closed" ? this.state.error : undefined;
      queueMicrotask(() => error && subscriber.onEnd?.(error));
      return () => {};
    }
    const watch = this.watches.start(method, request, subscriber as unknown as Subscriber<StreamMethod>);
    const stop = () => {
      signal?.removeEventListener("abort", stop);
      this.watches.stop(watch);
    };
    signal?.addEventListener("abort", stop, { once: true });
    return stop;
  }

  /** Ends the client. Calls and watches that wait end with a ClosedError. */
  close(): void {
    this.connection.close();
  }
}
