import { ClosedError, MarketplaceError } from "./errors.js";
import type { CommandIds } from "./commandid.js";
import { failed, request, subprotocol, type Incoming } from "./frames.js";
import { jitter } from "./pause.js";
import { safely } from "./report.js";
import { closeCodes, type Session } from "./schema.gen.js";
import type { Options, State, WebSocketLike } from "./types.js";

/** Listener is told what happens to the connection. */
export interface Listener {
  /** A connection stands: what waits may be sent. */
  opened(): void;
  /** It is gone; another will come. */
  lost(): void;
  /** The server said something that is not the connection's own. */
  heard(message: Incoming): void;
  /** There will be none any more. */
  ended(error: ClosedError): void;
}

/** How a socket ended. */
interface End {
  code: number;
  reason: string;
  lasted: number; // milliseconds for which it stood
}

const open = 1; // WebSocket.OPEN
const connectWithin = 15_000;
const refreshTries = 3;
const refreshPause = 5_000;
const codeExpired = 4500; // the first of the codes after which there is no coming back
const codesOfAMistake = [1002, 1009]; // of the client's: the same again would end the same

/** address is a URL as WebSockets want it: in full, and with their own scheme. */
function address(url: string | URL): string {
  const full = new URL(url, globalThis.location?.href);
  full.protocol = full.protocol.replace(/^http/, "ws");
  return full.href;
}

/** Connection keeps one socket open: it signs in, comes back, prolongs the session, and notices that nobody is there. */
export class Connection {
  private readonly options: Options;
  private readonly url: string;
  private readonly Socket: NonNullable<Options["WebSocket"]>;
  private readonly ids: CommandIds;
  private readonly listener: Listener;
  private readonly watchers = new Set<(state: State) => void>();
  private now: State = { name: "connecting", attempt: 0 };
  private socket: WebSocketLike | undefined;
  private hangUp: ((end: End) => void) | undefined; // ends the socket that is in use
  private wake: (() => void) | undefined; // ends the pause
  private next = 0;
  private own = new Map<number, { done: (m: Incoming) => void }>(); // requests of the session itself
  private hint: number | undefined; // when the server said to come back
  private token: string | undefined; // that the last connection was made with
  private refused = false; // that token was
  private heardAt = 0;
  private waitingSince: number | undefined; // the first request since the server was last heard

  constructor(options: Options, ids: CommandIds, listener: Listener) {
    this.options = options;
    this.url = address(options.url);
    const Socket = options.WebSocket ?? (globalThis.WebSocket as unknown as Options["WebSocket"]);
    if (!Socket) {
      throw new TypeError("this platform has no WebSocket: give one in the options");
    }
    this.Socket = Socket;
    this.ids = ids;
    this.listener = listener;
  }

  get state(): State {
    return this.now;
  }

  /** onState calls a listener with each new state; what it returns stops that. */
  onState(watcher: (state: State) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** id returns a number for a request; no two are alike. */
  id(): number {
    return ++this.next;
  }

  /** send sends a request if there is a connection. What could not be sent is sent with the next. */
  send(frame: string, answered = true): void {
    if (this.now.name !== "open" || this.socket?.readyState !== open) {
      return;
    }
    if (answered) {
      this.waitingSince ??= Date.now();
    }
    this.socket.send(frame);
  }

  /** hurry ends a pause: the network is back. */
  hurry(): void {
    this.wake?.();
  }

  /** close ends the connection for good. */
  close(): void {
    this.fail(new ClosedError("the client was closed"));
  }

  /** run makes one connection after the other until the client is closed. */
  async run(): Promise<void> {
    for (let attempt = 0; this.now.name !== "closed"; ) {
      this.become({ name: "connecting", attempt });
      const end = await this.use();
      if (this.ended()) {
        return;
      }
      attempt = end.lasted > 1_000 ? 0 : attempt;
      const final = this.verdict(end);
      if (final) {
        this.fail(final);
        return;
      }
      const wait = this.hint ?? (end.code === codeExpired ? 0 : jitter(attempt, this.options.maxPause ?? 15_000));
      this.hint = undefined;
      this.become({ name: "waiting", until: Date.now() + wait, reason: end.reason || `the connection ended (${end.code})` });
      await this.pause(wait);
      attempt++;
    }
  }

  private ended(): boolean {
    return this.now.name === "closed";
  }

  /** verdict says whether the server does not want the client back. A refused token is tried anew once. */
  private verdict(end: End): ClosedError | undefined {
    const told = `${end.reason || closeCodes[end.code] || "closed"} (${end.code})`;
    if (end.code === codeExpired && this.options.token && !this.refused) {
      this.refused = true;
      return undefined;
    }
    if ((end.code >= codeExpired && end.code < 5000) || codesOfAMistake.includes(end.code)) {
      return new ClosedError(`the server does not want the client back: ${told}`, end.code);
    }
    return undefined;
  }

  /** use opens a socket, and returns once it has ended. */
  private async use(): Promise<End> {
    let token: string | undefined;
    try {
      token = await this.newToken();
    } catch (error) {
      return { code: 0, reason: `no access token: ${String(error)}`, lasted: 0 };
    }
    if (this.ended()) {
      return { code: 0, reason: "", lasted: 0 };
    }
    if (this.refused && token === this.token) {
      return { code: codeExpired, reason: "the server refused the access token, and there is no other", lasted: 0 };
    }
    this.token = token;
    return await new Promise<End>((resolve) => this.live(token, resolve));
  }

  private async newToken(): Promise<string | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error("it did not come in time")), connectWithin);
    });
    try {
      return await Promise.race([this.options.token?.(), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** live wires a socket up. Its end is told once, and does not wait for a server that is gone to agree. */
  private live(token: string | undefined, resolve: (end: End) => void): void {
    const socket = new this.Socket(this.url, [subprotocol]);
    const began = { at: 0 };
    const late = setTimeout(() => this.hangUp?.({ code: 0, reason: "the server did not answer in time", lasted: 0 }), connectWithin);
    const beat = setInterval(() => this.beat(), 1_000);
    this.socket = socket;
    this.hangUp = (end) => {
      clearTimeout(late);
      clearInterval(beat);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // what is hung up may fail as it likes
      this.socket = this.hangUp = this.waitingSince = undefined;
      this.own.clear();
      socket.close();
      if (began.at > 0) {
        this.listener.lost();
      }
      resolve({ ...end, lasted: began.at > 0 ? Date.now() - began.at : 0 });
    };
    socket.onopen = () => void this.signIn(token, late, began);
    socket.onmessage = (event: { data: unknown }) => this.receive(String(event.data));
    socket.onclose = (event: { code: number; reason: string }) => this.hangUp?.({ code: event.code, reason: event.reason, lasted: 0 });
    socket.onerror = () => {}; // the close that follows says it
  }

  /** signIn opens the session, and learns the server's clock. */
  private async signIn(token: string | undefined, late: ReturnType<typeof setTimeout>, began: { at: number }): Promise<void> {
    const asked = Date.now();
    const method = token === undefined ? "session/get" : "session/open";
    const answer = await this.ask(method, token === undefined ? {} : { accessToken: token });
    const session = (answer.result as { session?: Session } | undefined)?.session;
    if (!session) {
      return; // the server closes, and says why
    }
    clearTimeout(late);
    this.ids.learn(session.serverTime ?? "", asked, Date.now());
    this.refused = false;
    began.at = Date.now();
    this.become({ name: "open", session });
    this.listener.opened();
  }

  /** ask sends a request of the session's own. */
  private ask(method: string, params: unknown): Promise<Incoming> {
    return new Promise((done) => {
      const id = this.id();
      this.own.set(id, { done });
      this.waitingSince ??= Date.now();
      this.socket?.send(request(id, method, params));
    });
  }

  private receive(text: string): void {
    this.heardAt = Date.now();
    this.waitingSince = undefined;
    let message: Incoming;
    try {
      message = JSON.parse(text) as Incoming;
    } catch {
      this.hangUp?.({ code: 0, reason: "the server does not speak JSON", lasted: 0 });
      return;
    }
    const own = message.id == null ? undefined : this.own.get(message.id);
    if (own) {
      this.own.delete(message.id as number);
      own.done(message);
      return;
    }
    switch (message.method) {
      case "session/expiring":
        void this.refresh();
        break;
      case "session/draining":
        this.hint = message.params?.reconnectMs ?? 0;
        break;
      default:
        this.listener.heard(message);
        return;
    }
    safely(this.options.onNotice, message.method, message.params);
  }

  /** refresh prolongs the session with a fresh token, on the same socket. */
  private async refresh(): Promise<void> {
    const socket = this.socket;
    for (let i = 0; i < refreshTries && socket === this.socket; i++) {
      try {
        const token = await this.newToken();
        if (token === undefined || socket !== this.socket) {
          return;
        }
        const answer = await this.ask("session/refresh", { accessToken: token });
        const session = (answer.result as { session?: Session } | undefined)?.session;
        if (session) {
          this.token = token;
          this.become({ name: "open", session });
          return;
        }
        if (!new MarketplaceError(failed(answer.error), "session/refresh").retryable) {
          return; // the server closes when the token ends; the next connection has another
        }
      } catch {
        // The next try may get a token.
      }
      await new Promise((done) => setTimeout(done, refreshPause));
    }
  }

  /** beat notices that the server is gone, which a socket may not for minutes. */
  private beat(): void {
    const now = Date.now();
    if (this.waitingSince !== undefined && now - this.waitingSince > (this.options.patience ?? 20_000)) {
      this.hangUp?.({ code: 0, reason: "the server does not answer", lasted: 0 });
    } else if (this.now.name === "open" && this.waitingSince === undefined && now - this.heardAt > (this.options.heartbeat ?? 30_000)) {
      void this.ask("session/get", {});
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  private fail(error: ClosedError): void {
    if (this.ended()) {
      return;
    }
    this.become({ name: "closed", error });
    this.hangUp?.({ code: 0, reason: "", lasted: 0 });
    this.wake?.();
    this.listener.ended(error);
  }

  private become(state: State): void {
    this.now = state;
    for (const watcher of [...this.watchers]) {
      safely(watcher, state);
    }
  }
}
