import type { Methods, Session } from "./schema.gen.js";
import type { ClosedError } from "./errors.js";

/** The name of a method. */
export type Method = keyof Methods;

/** Methods of some kinds. */
type OfKind<K> = { [M in Method]: Methods[M]["kind"] extends K ? M : never }[Method];

/** The methods that are answered once: reads and commands. */
export type CallMethod = OfKind<"read" | "command">;

/** The methods that push: streams of STATE and of EVENT. */
export type StreamMethod = OfKind<"STATE" | "EVENT">;

/** What a method takes. */
export type Request<M extends Method> = Methods[M]["request"];

/** What a method answers, or pushes. */
export type Response<M extends Method> = Methods[M]["response"];

/** What a call may be given beside its request. */
export interface CallOptions {
  /** The intent, a UUIDv7. Without one, a command gets its own. Whoever asks again with the same gets the same answer. */
  commandId?: string;
  /** Gives the call up. A command that was already heard is not undone by it. */
  signal?: AbortSignal;
}

/** What came back of a call. */
export interface Answer<M extends CallMethod> {
  result: Response<M>;
  /** Where the actor is after the answer: a stream that has come there shows what the command changed. Absent where no single actor answers. */
  position?: string;
}

/** One push of a stream. */
export interface Push<M extends StreamMethod> {
  result: Response<M>;
  /** Where the stream is after this push; a watch may go on after it. */
  position: string;
  /** False when what lay before this push is lost for good: the stream goes on with the present. */
  recovered: boolean;
}

/** A stream begins, or begins again after a lost connection. */
export interface Begin {
  position: string;
  /** Nothing was missed before it. */
  recovered: boolean;
}

/** What a watch may be given beside its request. */
export interface WatchOptions {
  /** The position that the watch goes on after; without it, it begins with the present. */
  after?: string;
  /** Ends the watch. */
  signal?: AbortSignal;
  /** Hears of each beginning. */
  onBegin?: (begin: Begin) => void;
}

/** Who hears a stream. Handlers run one after the other, in the order in which the server spoke. */
export interface Subscriber<M extends StreamMethod> extends WatchOptions {
  onPush: (push: Push<M>) => void;
  /** Hears why the watch is over; there are no more pushes. It is not called for who ended it. */
  onEnd?: (error: Error) => void;
}

/** Where the connection stands. */
export type State =
  /** A connection is being made; attempt counts from 0 since the last that stood. */
  | { name: "connecting"; attempt: number }
  /** The connection stands, and this is who is signed in on it. */
  | { name: "open"; session: Session }
  /** There is none; the next is made at this time (milliseconds, as of Date.now). */
  | { name: "waiting"; until: number; reason: string }
  /** There will be none any more. */
  | { name: "closed"; error: ClosedError };

/** What the client needs of a WebSocket; that of browsers has it, and that of the npm package ws. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** What a client is made of. */
export interface Options {
  /** The server's WebSocket, for example wss://marketplace.threefold.io/ws; in a browser "/ws" is that of the page's own server. */
  url: string | URL;
  /**
   * Returns an access token. It is asked for every connection, and whenever one is about to end. Without it, the
   * connection is that of the cookie session that the browser has.
   */
  token?: () => Promise<string>;
  /** The WebSocket to use; that of the platform. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocketLike;
  /** Hears session/expiring and session/draining, with what they say. */
  onNotice?: (method: string, params: unknown) => void;
  /** Bounds the pause before a connection is made anew, in milliseconds; 15,000. */
  maxPause?: number;
  /** How often a call is asked again that is refused for the moment; 8. */
  retries?: number;
  /** The largest request in bytes, which is the server's limit; 65,536. */
  maxRequest?: number;
  /** Silence after which the client asks whether the server is still there, in milliseconds; 30,000. */
  heartbeat?: number;
  /** How long a server may leave everything unanswered before the connection is given up, in milliseconds; 20,000. */
  patience?: number;
}
