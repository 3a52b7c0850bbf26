import type { Status } from "./errors.js";

/** Subprotocol is what the client speaks. */
export const subprotocol = "marketplace.jsonrpc.v1";

/** Failure is the error of a JSON-RPC message. */
export interface Failure {
  code: number;
  message: string;
  data?: Status;
}

/** Incoming is any message of the server: an answer if it has an id, else a push or what the session says. */
export interface Incoming {
  id?: number | null;
  method?: string;
  result?: unknown;
  error?: Failure;
  params?: PushParams;
  meta?: { position?: string };
}

/** PushParams are those of a push, and of the session's notifications. */
export interface PushParams {
  subscription?: string;
  position?: string;
  previous?: string;
  result?: unknown;
  end?: boolean;
  error?: Failure;
  reconnectMs?: number;
}

/** request is a request as it is sent. */
export function request(id: number, method: string, params: unknown, commandId?: string): string {
  return JSON.stringify({ jsonrpc: "2.0", id, method, ...(commandId && { meta: { commandId } }), params });
}

/** cancel gives a request up. */
export function cancel(id: number): string {
  return JSON.stringify({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id } });
}

/** failed returns the status of a failure; one without is told by its message. */
export function failed(failure: Failure | undefined): Status {
  return failure?.data ?? { message: failure?.message ?? "ended" };
}
