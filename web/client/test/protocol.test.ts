import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket, { WebSocketServer } from "ws";
import { MarketplaceClient, type Begin, type MarketplaceError, type Options } from "../src/index.js";
import { until } from "./server.js";

interface Frame {
  id: number;
  method: string;
  params: Record<string, unknown>;
  meta?: { commandId?: string };
}

const running: (() => void)[] = [];
afterEach(() => running.splice(0).forEach((end) => end()));

/** play is a server that says what the real one says seldom. */
async function play(answer: (frame: Frame, say: (message: object) => void, socket: WebSocket) => void, options: Partial<Options> = {}) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => [...offered][0] ?? false });
  await new Promise((done) => server.once("listening", done));
  const frames: Frame[] = [];
  server.on("connection", (socket) => {
    const say = (message: object) => socket.send(JSON.stringify({ jsonrpc: "2.0", ...message }));
    socket.on("message", (text) => {
      const frame = JSON.parse(String(text)) as Frame;
      if (frame.method === "session/open") {
        const session = { subject: "ann", roles: [], expireTime: "2100-01-01T00:00:00Z", serverTime: "2040-01-01T00:00:00Z" };
        say({ id: frame.id, result: { session } });
        return;
      }
      frames.push(frame);
      answer(frame, say, socket);
    });
  });
  const { port } = server.address() as { port: number };
  const client = new MarketplaceClient({ url: `ws://127.0.0.1:${port}/ws`, token: async () => "t", WebSocket, maxPause: 20, ...options });
  running.push(() => (client.close(), server.close()));
  return { client, frames, server };
}

const refusal = (reason: string, delay?: string) => ({
  code: -32000, message: "not now",
  data: {
    code: 8, message: "not now",
    details: [
      { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason, domain: "marketplace.threefold.io" },
      ...(delay ? [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: delay }] : []),
    ],
  },
});
const stream = "session/watch-broadcasts";
const push = (previous: string, position: string, method = stream) => ({ method, params: { subscription: "s", previous, position, result: { broadcasts: [{ text: position }] } } });
const stands = (id: number, position: string, recovered = true) => ({ id, result: { subscription: "s", recovered, position } });

test("what is refused for the moment is asked again under the same id, when the server said", async () => {
  const at: number[] = [];
  const { client, frames } = await play((frame, say) => {
    at.push(Date.now());
    say(at.length < 3 ? { id: frame.id, error: refusal("OVERLOADED", "0.200s") } : { id: frame.id, result: { credit: "1" } });
  });
  const { credit } = await client.call("cloud-operator/grant-credit", { userId: "x", amount: "1" });
  assert.equal(credit, "1");
  assert.equal(new Set(frames.map((f) => f.meta?.commandId)).size, 1);
  assert.equal(new Set(frames.map((f) => f.id)).size, 3);
  assert.ok(at[1]! - at[0]! >= 195 && at[2]! - at[1]! >= 195, `asked at ${at}`);
  const made = Number.parseInt(frames[0]!.meta!.commandId!.replace("-", "").slice(0, 12), 16);
  assert.ok(Math.abs(made - Date.parse("2040-01-01T00:00:00Z")) < 10_000, "the id is not made from the server's clock");
});

test("asking again has an end, and other refusals are not asked again", async () => {
  const { client, frames } = await play((frame, say) => say({ id: frame.id, error: refusal(frame.method.includes("get") ? "RATE_LIMITED" : "WRONG_STATE", "0.001s") }), { retries: 2 });
  await assert.rejects(client.call("cloud-user/get-account", {}), (e: MarketplaceError) => e.reason === "RATE_LIMITED" && e.retryAfter === 1);
  assert.equal(frames.length, 3);
  await assert.rejects(client.call("cloud-user/list-deployments", {}), { reason: "WRONG_STATE" });
  assert.equal(frames.length, 4);
});

test("an EVENT stream with a gap is taken up again after the last item; nothing is doubled", async () => {
  const { client, frames } = await play((frame, say) => {
    if (frame.method !== stream) {
      return;
    }
    if (frame.params["after"] === undefined) {
      say(stands(frame.id, "0"));
      [push("0", "1"), push("1", "2"), push("3", "4"), push("4", "5")].forEach(say); // 3 is missing
    } else {
      say(stands(frame.id, "2"));
      [push("2", "3"), push("3", "4"), push("4", "5")].forEach(say);
    }
  });
  const heard: string[] = [];
  for await (const p of client.watch(stream, {})) {
    heard.push(p.position);
    assert.ok(p.recovered);
    if (p.position === "5") {
      break;
    }
  }
  assert.deepEqual(heard, ["1", "2", "3", "4", "5"]);
  await until("the stream is cancelled", () => frames.length >= 4);
  assert.deepEqual(frames.map((f) => [f.method, f.params["after"]]), [[stream, undefined], ["$/cancelRequest", undefined], [stream, "2"], ["$/cancelRequest", undefined]]);
});

test("a STATE stream with a gap shows the push all the same, and a slow reader the newest alone", async () => {
  const state = "cloud-user/watch-account";
  const { client, frames } = await play((frame, say) => {
    if (frame.method === state) {
      say(stands(frame.id, "0"));
      [push("0", "1", state), push("1", "2", state), push("7", "8", state), push("8", "9", state)].forEach(say);
    }
  });
  const heard: string[] = [];
  const all: string[] = [];
  for await (const p of client.watch(state, {})) {
    heard.push(p.position);
    if (p.position === "9") {
      break;
    }
    await sleep(100);
  }
  assert.deepEqual(heard, ["1", "9"]);
  await until("it is cancelled", () => frames.length === 2);
  client.subscribe(state, {}, { onPush: (p) => all.push(p.position) });
  await until("everything is heard", () => all.length === 4);
  assert.deepEqual(all, ["1", "2", "8", "9"]);
  assert.equal(frames.length, 3, "it was asked for again");
});

test("a slow reader of an EVENT stream gets every item, and the server waits for it", async () => {
  const total = 2_000;
  let cancelled = 0;
  const { client } = await play((frame, say) => {
    if (frame.method === "$/cancelRequest") {
      cancelled++;
    } else {
      const from = Number(frame.params["after"] ?? 0);
      say(stands(frame.id, String(from)));
      for (let i = from; i < total; i++) {
        say(push(String(i), String(i + 1)));
      }
    }
  });
  const heard: string[] = [];
  for await (const p of client.watch(stream, {})) {
    heard.push(p.position);
    if (heard.length % 100 === 0) {
      await sleep(5);
    }
    if (heard.length === total) {
      break;
    }
  }
  assert.deepEqual(heard, Array.from({ length: total }, (_, i) => String(i + 1)));
  assert.ok(cancelled > 1, "the server was never asked to wait");
});

test("what cannot be continued says so", async () => {
  const begins: Begin[] = [];
  const { client } = await play((frame, say) => {
    if (frame.method === stream) {
      say(stands(frame.id, "90", false));
      [push("90", "91"), push("91", "92")].forEach(say);
    }
  });
  const heard: boolean[] = [];
  for await (const p of client.watch(stream, {}, { after: "3", onBegin: (b) => begins.push(b) })) {
    heard.push(p.recovered);
    if (heard.length === 2) {
      break;
    }
  }
  assert.deepEqual(begins, [{ position: "90", recovered: false }]);
  assert.deepEqual(heard, [false, true]);
});

test("a slow reader of a STATE stream hears of what was lost, though the push that said so was passed over", async () => {
  const state = "cloud-user/watch-account";
  let asked = 0;
  const { client } = await play((frame, say) => {
    if (frame.method !== state) {
      return;
    }
    if (++asked === 1) {
      say(stands(frame.id, "0"));
      say(push("0", "1", state));
      say({ method: state, params: { subscription: "s", end: true, error: refusal("STREAM_LOST", "0.001s") } });
    } else {
      say(stands(frame.id, "5", false));
      [push("5", "6", state), push("6", "7", state)].forEach(say);
    }
  });
  const watch = client.watch(state, {});
  const first = await watch.next();
  assert.deepEqual([first.value?.position, first.value?.recovered], ["1", true]);
  await until("it is asked for again", () => asked === 2);
  await sleep(100);
  const second = await watch.next();
  assert.deepEqual([second.value?.position, second.value?.recovered], ["7", false]);
});

test("a stream that the server ends goes on if it may, and else says why it is over", async () => {
  let asked = 0;
  const { client } = await play((frame, say) => {
    asked++;
    say(stands(frame.id, "0"));
    say({ method: stream, params: { subscription: "s", end: true, error: refusal(asked === 1 ? "STREAM_LOST" : "ROLE_REQUIRED") } });
  });
  await assert.rejects(client.watch(stream, {}).next(), { reason: "ROLE_REQUIRED" });
  assert.equal(asked, 2);
});

test("an aborted watch ends, and is cancelled", async () => {
  const { client, frames } = await play((frame, say) => frame.method === stream && say(stands(frame.id, "0")));
  const enough = new AbortController();
  const next = client.watch(stream, {}, { signal: enough.signal }).next();
  await until("it is asked for", () => frames.length === 1);
  enough.abort(new Error("enough"));
  await assert.rejects(next, /enough/);
  await until("it is cancelled", () => frames.some((f) => f.method === "$/cancelRequest"));
});

test("who was stopped hears nothing more, and a call that is given up is cancelled", async () => {
  const { client, frames } = await play((frame, say) => frame.method === stream && say(stands(frame.id, "0")));
  let ended = 0;
  client.subscribe(stream, {}, { onPush: () => {}, onEnd: () => ended++ })();
  await client.ready();
  const enough = new AbortController();
  const call = client.call("cloud-user/list-deployments", {}, { signal: enough.signal });
  await until("it is asked", () => frames.length > 0);
  enough.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  await until("it is cancelled", () => frames.some((f) => f.method === "$/cancelRequest" && f.params["id"] === frames[0]?.id));
  client.close();
  assert.equal(ended, 0);
});

test("close codes say whether to come back", async () => {
  for (const [code, back] of [[4000, true], [4005, true], [1012, true], [4501, false], [4503, false], [4505, false], [1009, false], [1002, false]] as const) {
    let connections = 0;
    const { client, server } = await play((frame, say, socket) => (connections === 1 ? socket.close(code) : say({ id: frame.id, result: {} })));
    server.on("connection", () => connections++);
    const call = client.call("cloud-user/list-deployments", {});
    if (back) {
      await call;
      assert.equal(connections, 2, `after ${code}`);
    } else {
      await assert.rejects(call, { name: "ClosedError", code });
      assert.equal(connections, 1, `after ${code}`);
    }
  }
});

test("a listener that throws does not stop the client, and is reported as uncaught", async (t) => {
  const reports: (() => void)[] = [];
  t.mock.method(globalThis, "queueMicrotask", (report: () => void) => void reports.push(report));
  const { client } = await play((frame, say) => say({ id: frame.id, result: {} }));
  client.onState(() => {
    throw new Error("mine");
  });
  await client.call("cloud-user/list-deployments", {});
  assert.ok(reports.length > 0);
  assert.throws(reports[0]!, /mine/);
});
