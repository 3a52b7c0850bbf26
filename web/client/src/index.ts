/**
 * The client of the ThreeFold Cloud Marketplace: one WebSocket that is kept open, calls that are answered once, and
 * watches that miss nothing.
 *
 * @packageDocumentation
 */
export { MarketplaceClient } from "./client.js";
export { ClosedError, MarketplaceError, type FieldViolation } from "./errors.js";
export { subprotocol } from "./frames.js";
export type {
  Answer, Begin, CallMethod, CallOptions, Method, Options, Push, Request, Response, State, StreamMethod, Subscriber,
  WatchOptions, WebSocketLike,
} from "./types.js";
export * from "./schema.gen.js";
