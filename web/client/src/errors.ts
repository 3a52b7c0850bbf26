import { reasons, type ErrorReason } from "./schema.gen.js";

/** A field that does not hold what it must. */
export interface FieldViolation {
  /** Path of the field in the request. */
  field: string;
  /** What is wrong with it, for people. */
  description: string;
}

interface Detail {
  "@type"?: string;
  reason?: string;
  metadata?: Record<string, string>;
  fieldViolations?: FieldViolation[];
  retryDelay?: string;
}

/** A google.rpc.Status as JSON. */
export interface Status {
  code?: number;
  message?: string;
  details?: Detail[];
}

/**
 * A refusal of the server, or of the client in its name. Switch on the reason; the message is for people. Nothing was
 * changed by what was refused, with one exception: after ACTOR_TIMEOUT the outcome is not known.
 */
export class MarketplaceError extends Error {
  override readonly name = "MarketplaceError";
  /** Why; a server that is newer than this client may know more reasons. */
  readonly reason: ErrorReason | (string & {});
  /** The canonical code (google.rpc.Code). */
  readonly code: number;
  /** The fields at fault. */
  readonly fields: readonly FieldViolation[];
  /** What a program may want to know. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When asking again may help, in milliseconds from the answer; undefined: the server did not say. */
  readonly retryAfter: number | undefined;
  /** Asking again later, under the same command id, may succeed. */
  readonly retryable: boolean;
  /** The method that was called. */
  readonly method: string;
  /** The command's id: asking again with it is always safe. */
  readonly commandId: string | undefined;

  constructor(status: Status, method: string, commandId?: string) {
    super(status.message ?? "refused");
    const details = status.details ?? [];
    const info = details.find((d) => d["@type"]?.endsWith("/google.rpc.ErrorInfo"));
    const delay = details.find((d) => d["@type"]?.endsWith("/google.rpc.RetryInfo"))?.retryDelay;
    this.reason = info?.reason ?? "INTERNAL";
    this.code = status.code ?? 13;
    this.fields = details.find((d) => d["@type"]?.endsWith("/google.rpc.BadRequest"))?.fieldViolations ?? [];
    this.metadata = info?.metadata ?? {};
    this.retryAfter = delay === undefined ? undefined : Number.parseFloat(delay) * 1000;
    const rule = Object.hasOwn(reasons, this.reason) ? reasons[this.reason as ErrorReason] : undefined;
    this.retryable = rule?.retry ?? this.retryAfter !== undefined;
    this.method = method;
    this.commandId = commandId;
  }
}

/** There is no connection and there will be none: the client was closed, or the server does not want it back. */
export class ClosedError extends Error {
  override readonly name = "ClosedError";
  /** The code that the server closed with; undefined when the client was closed here. */
  readonly code: number | undefined;

  constructor(message: string, code?: number) {
    super(message);
    this.code = code;
  }
}

/** refuse makes a refusal of the client's own. */
export function refuse(reason: ErrorReason, message: string, method: string): MarketplaceError {
  return new MarketplaceError(
    { code: reasons[reason].code, message, details: [{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason }] },
    method,
  );
}
