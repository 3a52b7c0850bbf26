import type { Connection } from "./connection.js";
import { MarketplaceError, type ClosedError } from "./errors.js";
import { cancel, failed, request, type Incoming, type PushParams } from "./frames.js";
import { before } from "./pause.js";
import { safely } from "./report.js";
import { methods } from "./schema.gen.js";
import type { StreamMethod, Subscriber } from "./types.js";

/** A subscription that outlives connections. */
export interface Watch {
  readonly method: StreamMethod;
  readonly params: object;
  readonly subscriber: Subscriber<StreamMethod>;
  id: number | undefined; // of the request that subscribed last
  name: string | undefined; // the server's for the subscription, once it said
  position: string | undefined;
  recovered: boolean; // nothing was lost since the last push
  attempt: number; // how often it was asked for since it last went on
  timer: ReturnType<typeof setTimeout> | undefined; // until it is asked for again
  held: boolean; // whoever hears it has enough for now
  over: boolean;
}

/** Watches are the streams that are heard, by whatever connection there is. */
export class Watches {
  private readonly connection: Connection;
  private readonly all = new Set<Watch>();

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** start begins a watch. */
  start(method: StreamMethod, params: object, subscriber: Subscriber<StreamMethod>): Watch {
    const watch: Watch = {
      method, params, subscriber, id: undefined, name: undefined, position: subscriber.after,
      recovered: true, attempt: 0, timer: undefined, held: false, over: false,
    };
    this.all.add(watch);
    this.ask(watch);
    return watch;
  }

  /** stop ends a watch without a word to its subscriber. */
  stop(watch: Watch): void {
    watch.over = true;
    this.all.delete(watch);
    this.silence(watch);
  }

  /** hold stops the pushes for a while; release goes on after the last of them. */
  hold(watch: Watch): void {
    watch.held = true;
    this.silence(watch);
  }

  release(watch: Watch): void {
    if (watch.held && !watch.over) {
      watch.held = false;
      this.ask(watch);
    }
  }

  /** resume asks for every stream anew, on a new connection. */
  resume(): void {
    for (const watch of this.all) {
      this.ask(watch);
    }
  }

  /** lost forgets what belonged to the last connection. */
  lost(): void {
    for (const watch of this.all) {
      clearTimeout(watch.timer);
      watch.id = watch.name = undefined;
    }
  }

  /** end ends every watch. */
  end(error: ClosedError): void {
    for (const watch of [...this.all]) {
      this.finish(watch, error);
    }
  }

  /** answered takes the answer to a subscription. */
  answered(message: Incoming): void {
    const watch = [...this.all].find((w) => w.id === message.id);
    if (!watch) {
      return;
    }
    if (message.error) {
      this.again(watch, new MarketplaceError(failed(message.error), watch.method));
      return;
    }
    const begin = message.result as { subscription: string; recovered: boolean; position: string };
    watch.name = begin.subscription;
    watch.position = begin.position;
    watch.recovered = watch.recovered && begin.recovered;
    safely(watch.subscriber.onBegin, { position: begin.position, recovered: begin.recovered });
  }

  /** pushed takes a push. Of what is not awaited any more, nothing is told. */
  pushed(method: string, params: PushParams): void {
    const watch = [...this.all].find((w) => w.method === method && w.name !== undefined && w.name === params.subscription);
    if (!watch) {
      return;
    }
    if (params.end) {
      watch.id = watch.name = undefined;
      this.again(watch, new MarketplaceError(failed(params.error), method));
    } else if (methods[watch.method].kind === "EVENT" && params.previous !== watch.position) {
      this.silence(watch); // something is missing between the two
      this.later(watch, watch.attempt === 0 ? 0 : undefined);
    } else {
      this.tell(watch, params);
    }
  }

  private tell(watch: Watch, params: PushParams): void {
    const { recovered } = watch;
    watch.position = params.position;
    watch.recovered = true;
    watch.attempt = 0;
    safely(watch.subscriber.onPush, { result: params.result as never, position: params.position ?? "", recovered });
  }

  /** again asks anew if the error is about the moment, and else ends the watch. */
  private again(watch: Watch, error: MarketplaceError): void {
    watch.id = watch.name = undefined;
    if (error.retryable) {
      this.later(watch, error.retryAfter);
    } else {
      this.finish(watch, error);
    }
  }

  private later(watch: Watch, after: number | undefined): void {
    clearTimeout(watch.timer);
    watch.timer = setTimeout(() => this.ask(watch), before(after, watch.attempt++));
  }

  private finish(watch: Watch, error: Error): void {
    watch.over = true;
    this.all.delete(watch);
    this.silence(watch);
    safely(watch.subscriber.onEnd, error);
  }

  /** silence gives the subscription up, whatever it has said that is still on its way. */
  private silence(watch: Watch): void {
    clearTimeout(watch.timer);
    if (watch.id !== undefined) {
      this.connection.send(cancel(watch.id), false);
    }
    watch.id = watch.name = undefined;
  }

  private ask(watch: Watch): void {
    clearTimeout(watch.timer);
    if (watch.over || watch.held || watch.id !== undefined || this.connection.state.name !== "open") {
      return;
    }
    watch.id = this.connection.id();
    const params = watch.position === undefined ? watch.params : { ...watch.params, after: watch.position };
    this.connection.send(request(watch.id, watch.method, params));
  }
}
