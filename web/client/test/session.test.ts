import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ClosedError, type State } from "../src/index.js";
import { Server, states, until } from "./server.js";

const server = new Server({ MARKETPLACE_SANDBOX_TOKEN_TTL: "10s" });
before(() => server.start());
after(() => server.remove());

const expiry = (s: State) => (s.name === "open" ? Date.parse(s.session.expireTime ?? "") : 0);

test("a session is prolonged in place", async () => {
  let tokens = 0;
  let begun = 0;
  const notices: string[] = [];
  const alice = server.client("alice", { token: () => (tokens++, server.token("alice")), onNotice: (method) => notices.push(method) });
  const seen = states(alice);
  alice.subscribe("cloud-user/watch-account", {}, { onPush: () => {}, onBegin: () => begun++ });
  await alice.ready();
  const first = expiry(alice.state);
  await until("the session lasts longer", () => expiry(alice.state) >= first + 2_000);
  assert.ok(tokens > 1 && notices.includes("session/expiring"));
  assert.equal(seen.filter((s) => s.name === "connecting").length, 1, "it was another connection");
  assert.equal(begun, 1);
  await alice.call("cloud-user/get-account", {});
  alice.close();
});

test("a token that is refused is replaced once", async () => {
  const good = await server.token("alice");
  const tokens = ["bad", good];
  const alice = server.client("alice", { token: async () => tokens.shift() ?? good });
  await alice.ready();
  assert.equal(tokens.length, 0);
  alice.close();
});

test("without a better token the client gives up, and says why", async () => {
  for (const token of [() => "bad", () => `bad ${Math.random()}`]) {
    let asked = 0;
    const alice = server.client("alice", { token: async () => (asked++, token()) });
    const waiting = alice.call("cloud-user/get-account", {});
    await assert.rejects(waiting, (e: ClosedError) => e instanceof ClosedError && e.code === 4500 && (token() !== "bad" || e.message.includes("there is no other")));
    await assert.rejects(alice.ready(), ClosedError);
    assert.equal(asked, 2);
    await sleep(50);
    assert.equal(alice.state.name, "closed");
  }
});

test("an issuer that is away is asked again", async () => {
  let asked = 0;
  const alice = server.client("alice", { token: () => (asked++ < 2 ? Promise.reject(new Error("no net")) : server.token("alice")) });
  const seen = states(alice);
  await alice.ready();
  assert.equal(seen.filter((s) => s.name === "waiting" && s.reason.includes("no net")).length, 2);
  alice.close();
});

test("a server that stops says when to come back, and the client does", async () => {
  let hint: number | undefined;
  const alice = server.client("alice", {
    onNotice: (method, params) => (hint = method === "session/draining" ? (params as { reconnectMs: number }).reconnectMs : hint),
  });
  let begun = 0;
  alice.subscribe("cloud-user/watch-account", {}, { onPush: () => {}, onBegin: ({ recovered }) => (begun += recovered ? 1 : 100) });
  await until("the stream begins", () => begun === 1);
  const seen: { state: State; at: number }[] = [];
  alice.onState((state) => seen.push({ state, at: Date.now() }));
  await server.end("SIGTERM");
  await until("the client waits", () => seen.length > 0);
  assert.ok(hint !== undefined, "no hint came");
  const { state, at } = seen[0]!;
  assert.ok(state.name === "waiting" && /stops/.test(state.reason));
  assert.ok(Math.abs(state.until - at - hint) < 50, `waits ${state.until - at} ms, was told ${hint}`);
  await server.start();
  await until("the stream goes on", () => begun === 2);
  alice.close();
});
